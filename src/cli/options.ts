import { availableParallelism } from 'node:os';
import { Option } from 'commander';
import { InputError } from '../arch/input-error.ts';
import { parseJobs } from './values.ts';

/** An option whose text `parse` turns into a value; what `parse` says against it is told of this option and text. */
export function option<Value>(
  flags: string,
  description: string,
  parse: (text: string) => Value,
  standard?: string,
): Option {
  const [name] = flags.split(' ');
  const made = new Option(flags, description).argParser((text) => {
    try {
      return parse(text);
    } catch (error) {
      throw error instanceof InputError ? new InputError(`${name} ${text}: ${error.message}`) : error;
    }
  });
  return standard === undefined ? made : made.default(parse(standard), standard);
}

/** An option that may be given only once: the second one would silently win. */
export function once(flags: string, description: string): Option {
  const [name] = flags.split(' ');
  return new Option(flags, description).argParser((text: string, before: string | undefined) => {
    if (before !== undefined) throw new InputError(`${name} is given twice: ${before} and ${text}.`);
    return text;
  });
}

/** Collects the texts of an option that may be repeated. */
export const collect = (text: string, list: readonly string[] = []): string[] => [...list, text];

export const jobsOption = (): Option =>
  option('--jobs <n>', 'run so many scenarios side by side', parseJobs, String(availableParallelism()));
