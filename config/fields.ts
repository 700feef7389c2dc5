/** Fields that several parts of the schema share. */
import ms from 'ms';
import { z } from 'zod';

/** `90s`, `5m`, or a number of milliseconds; resolved to milliseconds. */
export const duration = () =>
  z.union([z.number().int().positive(), z.string()]).transform((value, context) => {
    const milliseconds = typeof value === 'number' ? value : ms(value as ms.StringValue);
    if (Number.isFinite(milliseconds) && milliseconds > 0) return milliseconds;
    context.addIssue({ code: 'custom', message: 'not a duration: write 90s, 5m or milliseconds' });
    return z.NEVER;
  });

export const name = () => z.string().regex(/^[a-z0-9][a-z0-9-]*$/, 'lower-case letters, digits and hyphens');
