import { PROBE_FORMS, type ProbeForm, type ProbeFormName, probeFormNumber } from '../../guest/probe-forms.ts';
import { MARKER_OFFSET, markerOffset } from '../marker.ts';
import type { ProbeStep } from '../scenario.ts';
import type { Target } from './space.ts';

/** A kind of probe: form, privilege, EFLAGS.AC. */
export interface ProbeKind {
  readonly form: ProbeFormName;
  readonly cpl: 0 | 3;
  readonly ac?: true;
}

// biome-ignore format: table
/** What every page is probed with. */
export const BASIC_PROBES: readonly ProbeKind[] = [
  { form: 'read4',  cpl: 0 }, { form: 'read4',  cpl: 3 },
  { form: 'write4', cpl: 0 }, { form: 'write4', cpl: 3 },
  { form: 'fetch',  cpl: 0 }, { form: 'fetch',  cpl: 3 },
];

// biome-ignore format: table
/** The other kinds, which take turns. */
export const FURTHER_PROBES: readonly ProbeKind[] = [
  { form: 'rmw4',     cpl: 0 }, { form: 'rmw4',     cpl: 3 },
  { form: 'read4',    cpl: 0, ac: true }, { form: 'write4', cpl: 0, ac: true },
  { form: 'descriptor', cpl: 0 }, { form: 'descriptor', cpl: 3 },
  { form: 'descriptor', cpl: 0, ac: true }, { form: 'descriptor.write', cpl: 3 },
  { form: 'read1',    cpl: 3 }, { form: 'write1',   cpl: 0 },
  { form: 'read2',    cpl: 0 }, { form: 'write2',   cpl: 3 },
  { form: 'rmw1',     cpl: 3 }, { form: 'push',     cpl: 3 },
  { form: 'pop',      cpl: 3 }, { form: 'read4.ss', cpl: 0 },
  { form: 'read4.fs', cpl: 3 }, { form: 'write4.fs', cpl: 0 },
  { form: 'read4.cs', cpl: 3 }, { form: 'read4.gs', cpl: 0 },
  { form: 'write4.ss', cpl: 3 }, { form: 'read4.es', cpl: 3 },
  { form: 'write4.es', cpl: 0 }, { form: 'write4.gs', cpl: 3 },
];

/** Counts up through a scenario, so that every write stores a value of its own and the further probes take turns. */
export class ProbeWriter {
  #count = 0;
  #turn = 0;

  /** @param turn with which of the further probes to begin */
  constructor(turn = 0) {
    this.#turn = turn;
  }

  /** One probe of a target, at the place in its marker that the form wants. */
  probe(target: Target, { form, cpl, ac }: ProbeKind): ProbeStep {
    const description: ProbeForm = PROBE_FORMS[probeFormNumber(form)];
    const stores = description.access === 'write' && description.implicit !== true;
    return {
      do: 'probe',
      form,
      cpl,
      at: target.at + MARKER_OFFSET + markerOffset(description),
      ...(stores ? { value: this.#value() } : {}),
      ...(ac === true ? { ac } : {}),
      about: target.about,
    };
  }

  /** The basic probes and one of the others, on each target. */
  all(targets: readonly Target[]): ProbeStep[] {
    return targets.flatMap((target) => [
      ...BASIC_PROBES.map((kind) => this.probe(target, kind)),
      this.probe(target, this.#next()),
    ]);
  }

  /** Two probes on each target: one of the basic ones and one of the others, in turn. */
  some(targets: readonly Target[]): ProbeStep[] {
    return targets.flatMap((target, index) => [
      this.probe(target, BASIC_PROBES[(this.#turn + index) % BASIC_PROBES.length]),
      this.probe(target, this.#next()),
    ]);
  }

  #next(): ProbeKind {
    return FURTHER_PROBES[this.#turn++ % FURTHER_PROBES.length];
  }

  /** Never the word of a marker: those have four equal bytes. */
  #value(): number {
    return (0xe0_0000 + this.#count++) >>> 0;
  }
}
