import { existsSync } from 'node:fs';
import { InputError } from '../arch/input-error.ts';
import { OutputFile, readInput } from './files.ts';
import type { ScenarioText } from './grid/scenarios.ts';
import type { Host } from './host.ts';
import { type Progress, withProgress } from './progress.ts';

/** Makes an image of scenarios, named or given as text, or of all. */
export type ExportImage = (
  scenarios: 'all' | readonly (string | ScenarioText)[],
) => AsyncGenerator<Progress, Uint8Array>;

export interface ExportOptions {
  readonly all: boolean;
  readonly output: string;
}

/** Writes an image of scenarios. Each is a name, or a file where there is one. @throws InputError */
export async function exportToFile(
  scenarios: readonly string[],
  { all, output }: ExportOptions,
  host: Host,
  exportImage: ExportImage,
): Promise<void> {
  if (all === scenarios.length > 0) {
    throw new InputError(
      all ? '--all takes no names of scenarios.' : 'Which scenarios? Name some, or say --all.',
    );
  }
  const chosen = all ? 'all' : scenarios.map(nameOrFile);
  const file = new OutputFile(output, 'image');
  let size = 0;
  try {
    const image = await withProgress(host, exportImage(chosen));
    size = image.length;
    file.writeBytes(image);
  } finally {
    file.close();
  }
  host.stderr.write(`${output}: ${Math.ceil(size / 1024)} KiB\n`);
}

function nameOrFile(text: string): string | ScenarioText {
  if (!existsSync(text)) return text;
  return { source: text, text: new TextDecoder().decode(readInput(text, 'scenario file')) };
}
