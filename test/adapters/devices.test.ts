import { DeviceSlots, visibleDevices } from '../../adapters/devices';

const TWO =
  'GPU 0: NVIDIA H100 (UUID: GPU-1)\n  MIG 1g.10gb Device 0: (UUID: MIG-1)\nGPU 1: NVIDIA H100 (UUID: GPU-2)\n';

test.each<[string, string | undefined, string, string[]]>([
  ['nvidia-smi that lists none', undefined, '', []],
  ['two devices, one of them divided', undefined, TWO, ['0', '1']],
  ['two devices, of which the worker may use one', '1', TWO, ['1']],
  ['devices by their unique names', 'GPU-2,GPU-1', TWO, ['GPU-2', 'GPU-1']],
  ['devices hidden from the worker', '', TWO, []],
  ['devices hidden in the other way', '-1', TWO, []],
])('%s', (_, visible, list, devices) => {
  // Undefined would mean the worker's own variable.
  expect(visible === undefined ? listed(list) : visibleDevices(visible, () => list)).toEqual(devices);
});

function listed(list: string): string[] {
  const own = process.env.CUDA_VISIBLE_DEVICES;
  delete process.env.CUDA_VISIBLE_DEVICES;
  try {
    return visibleDevices(undefined, () => list);
  } finally {
    if (own !== undefined) process.env.CUDA_VISIBLE_DEVICES = own;
  }
}

test('a slot shows one device, and is free again when its work has ended or failed', async () => {
  const slots = new DeviceSlots(['4', '7']);
  let end = () => {};
  const first = slots.use(async (variables) => {
    await new Promise<void>((resolve) => (end = resolve));
    return variables;
  });
  await expect(slots.use(() => Promise.reject(new Error('failed')))).rejects.toThrow('failed');
  expect(await slots.use((variables) => Promise.resolve(variables))).toEqual({ CUDA_VISIBLE_DEVICES: '7' });
  end();
  expect(await first).toEqual({ CUDA_VISIBLE_DEVICES: '4' });
});

test('without devices there is one slot, which shows none', async () => {
  const slots = new DeviceSlots([]);
  const held = slots.use((variables) => slots.use(() => Promise.resolve()).then(() => variables));
  await expect(held).rejects.toThrow('more activities than devices');
  expect(await slots.use((variables) => Promise.resolve(variables))).toEqual({});
});
