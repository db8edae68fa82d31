import { existsSync, statSync } from 'node:fs';
import initSqlJs, { type Database } from 'sql.js';
import { InputError } from '../../arch/input-error.ts';
import { OUTPUT_STATUS } from '../exit-status.ts';
import { Failure } from '../failure.ts';
import { outputFailure, readInput, tryToReplace } from '../files.ts';
import { replaceFile } from '../replace-file.ts';

/** Written into the file's header (PRAGMA application_id): "umbr". */
const APPLICATION = 0x756d_6272;
const SCHEMA = `
  PRAGMA application_id = ${APPLICATION};
  CREATE TABLE IF NOT EXISTS seeds (
    seed INTEGER PRIMARY KEY, next INTEGER NOT NULL, scenarios INTEGER NOT NULL, probes INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS failures (
    cause TEXT PRIMARY KEY, seed INTEGER NOT NULL, number INTEGER NOT NULL, count INTEGER NOT NULL,
    scenario TEXT NOT NULL, story TEXT NOT NULL
  ) STRICT;
`;

/** What no soak has written: counts below zero or beyond what arithmetic is exact for. Fails where a column is missing. */
const IMPOSSIBLE = `
  SELECT 1 FROM seeds WHERE min(seed, next, scenarios, probes) < 0 OR max(seed, next, scenarios, probes) > $most
  UNION ALL SELECT 1 FROM failures WHERE min(seed, number, count) < 0 OR max(seed, number, count) > $most
    OR typeof(cause || scenario || story) <> 'text'
`;
const MOST = 2 ** 48;

/** One cause of failure, with the first scenario that had it. */
export interface CorpusFailure {
  readonly cause: string;
  /** Seed and number of that scenario. */
  readonly seed: number;
  readonly number: number;
  /** Scenarios that failed so. */
  readonly count: number;
  /** The scenario as small as it got, a file to replay. */
  readonly scenario: string;
  readonly story: string;
}

/** How far a seed is. */
export interface SeedProgress {
  /** Number of the next scenario. */
  readonly next: number;
  readonly scenarios: number;
  readonly probes: number;
}

/**
 * What a soak remembers, in one SQLite file. Every `save` replaces it in one step, so that whatever is killed whenever, the
 * file is whole: as it was before the save, or as after.
 */
export class Corpus {
  readonly #path: string;
  readonly #database: Database;
  #written: string;

  private constructor(path: string, database: Database) {
    this.#path = path;
    this.#database = database;
    this.#written = identity(path);
  }

  /**
   * Opens a corpus, or begins one where there is no file.
   * @throws InputError where the file is something else or damaged, or where it could not be written
   */
  static async open(path: string): Promise<Corpus> {
    const { Database } = await initSqlJs();
    tryToReplace(path, 'corpus');
    const bytes = existsSync(path) ? readInput(path, 'corpus') : undefined;
    try {
      const database = new Database(bytes);
      if (bytes !== undefined && one(database, 'PRAGMA application_id') !== APPLICATION)
        throw new Error('not ours');
      database.run(SCHEMA);
      const whole = one(database, 'PRAGMA integrity_check') === 'ok';
      if (!whole || one(database, IMPOSSIBLE, { $most: MOST }) !== undefined) throw new Error('damaged');
      return new Corpus(path, database);
    } catch {
      throw new InputError(
        `The file ${path} is no corpus of umbra soak, or a damaged one; name one, or a file that is not there yet.`,
      );
    }
  }

  progress(seed: number): SeedProgress {
    const [row] = this.#rows('SELECT next, scenarios, probes FROM seeds WHERE seed = ?', [seed]);
    return row === undefined
      ? { next: 0, scenarios: 0, probes: 0 }
      : { next: Number(row.next), scenarios: Number(row.scenarios), probes: Number(row.probes) };
  }

  setProgress(seed: number, { next, scenarios, probes }: SeedProgress): void {
    this.#database.run('INSERT OR REPLACE INTO seeds VALUES (?, ?, ?, ?)', [seed, next, scenarios, probes]);
  }

  /** Counts one more failure of a known cause; false if it is a new one. */
  countAgain(cause: string): boolean {
    this.#database.run('UPDATE failures SET count = count + 1 WHERE cause = ?', [cause]);
    return this.#database.getRowsModified() > 0;
  }

  add({ cause, seed, number, count, scenario, story }: CorpusFailure): void {
    this.#database.run('INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?)', [
      cause,
      seed,
      number,
      count,
      scenario,
      story,
    ]);
  }

  /** All causes, in the order in which they were found. */
  get failures(): CorpusFailure[] {
    return this.#rows('SELECT * FROM failures ORDER BY rowid') as unknown as CorpusFailure[];
  }

  /** Writes everything to the file. @throws Failure where another program has written it meanwhile, or the disk is full */
  save(): void {
    if (identity(this.#path) !== this.#written) {
      throw new Failure(
        `The corpus ${this.#path} was changed by somebody else; give each soak a file of its own.`,
        OUTPUT_STATUS,
      );
    }
    try {
      replaceFile(this.#path, this.#database.export(), '.new');
    } catch (error) {
      throw outputFailure('corpus', this.#path, error);
    }
    this.#written = identity(this.#path);
  }

  #rows(sql: string, parameters: (number | string)[] = []): Record<string, unknown>[] {
    const statement = this.#database.prepare(sql, parameters);
    const rows: Record<string, unknown>[] = [];
    while (statement.step()) rows.push(statement.getAsObject());
    statement.free();
    return rows;
  }
}

/** The first value that a query gives; undefined where it gives none. */
const one = (database: Database, sql: string, parameters: Record<string, number> = {}): unknown =>
  database.exec(sql, parameters)[0]?.values[0]?.[0];

/** What changes when somebody writes a file. */
function identity(path: string): string {
  if (!existsSync(path)) return 'absent';
  const { ino, mtimeMs, size } = statSync(path);
  return `${ino} ${mtimeMs} ${size}`;
}
