import { describe, expect, it } from 'vitest';
import { type DriveOptions, drive } from '../../../src/cli/run/drive.ts';
import type { Stop } from '../../../src/cli/run/session.ts';
import { ActedMachine, type Step, TestHost } from '../host.ts';

async function play(
  steps: Step[],
  options: DriveOptions = {},
  prepare?: (host: TestHost, machine: ActedMachine) => void,
) {
  const host = new TestHost();
  let machine: ActedMachine | undefined;
  const { ending } = await drive(host, options, (serial) => {
    machine = new ActedMachine({ serial }, steps);
    prepare?.(host, machine);
    return machine;
  });
  return { host, machine: machine as unknown as ActedMachine, ending };
}

describe('the ends of a run', () => {
  const cases: [string, Stop, string, number][] = [
    ['power-off', { kind: 'power-off' }, 'power-off', 0],
    ['reset', { kind: 'reset' }, 'reset', 0],
    ['debug-exit 0', { kind: 'debug-exit', value: 0 }, 'debug-exit', 1],
    ['debug-exit 0x10', { kind: 'debug-exit', value: 0x10 }, 'debug-exit', 33],
    [
      'debug-exit of 32 bits keeps what an exit status has',
      { kind: 'debug-exit', value: 0xffff_ffff },
      'debug-exit',
      255,
    ],
    ['triple fault', { kind: 'triple-fault', report: 'EIP=0' }, 'triple-fault', 120],
    ['halted for good', { kind: 'dead' }, 'dead', 124],
  ];
  it.each(cases)('%s', async (_, stop, kind, status) => {
    const { ending, host } = await play([{ send: 'hello\n' }, { stop }]);
    expect(ending).toMatchObject({ kind, status });
    expect(host.out).toBe('hello\n');
  });

  it('a triple fault shows the processor', async () => {
    const { ending } = await play([{ stop: { kind: 'triple-fault', report: 'EAX=00000001' } }]);
    expect(ending.sentence).toBe('triple fault.\nEAX=00000001');
  });

  it('--until ends at the line that matches, whatever would follow', async () => {
    const { ending, host } = await play(
      [{ send: 'a UMBRA-' }, { send: 'OK b\nnever printed\n' }, { stop: { kind: 'power-off' } }],
      { until: /UMBRA-OK/ },
    );
    expect(ending).toEqual({ kind: 'until', status: 0 });
    expect(host.out).toBe('a UMBRA-OK b\n');
  });

  it('--until sees a prompt once the guest rests', async () => {
    expect(
      (await play([{ send: 'login: ' }, { stop: { kind: 'halted', wakeAfter: 5 } }], { until: /login: $/ }))
        .ending.kind,
    ).toBe('until');
    expect((await play([{ send: 'login: ' }, {}], { until: /login: $/ })).ending.kind).toBe('until');
  });

  it('--until does not take a line for ended while it grows', async () => {
    const steps = [{ send: 'OK' }, { send: 'AY\n' }, { stop: { kind: 'dead' } as const }];
    expect((await play(steps, { until: /OK$/m })).ending.kind).toBe('dead');
  });

  it('a guest that powers off before --until matched is no failure', async () => {
    const { ending } = await play([{ stop: { kind: 'power-off' } }], { until: /x/ });
    expect(ending).toEqual({ kind: 'power-off', status: 0 });
  });

  it('--max-instructions is exact', async () => {
    const { ending, machine } = await play([], { maxInstructions: 1_000_003 });
    expect(ending).toMatchObject({ kind: 'max-instructions', status: 124 });
    expect(machine.instructions).toBe(1_000_003);
  });

  it('--timeout', async () => {
    const { ending } = await play([], { timeout: 0.2 });
    expect(ending).toMatchObject({ kind: 'timeout', status: 124, sentence: 'stopped after 0.2 seconds.' });
  });

  it('a signal ends it with the status that shells give', async () => {
    const { ending } = await play([], {}, (host) => setImmediate(() => host.signal('SIGINT')));
    expect(ending).toEqual({ kind: 'signal', status: 130 });
  });

  it('a reader of standard output that goes away ends it', async () => {
    const { ending } = await play([{ send: 'x' }], {}, (host) => {
      setImmediate(() => host.stdout.destroy(Object.assign(new Error('gone'), { code: 'EPIPE' })));
    });
    expect(ending).toEqual({ kind: 'left', status: 0 });
  });

  it('standard output that takes no more ends it', async () => {
    const { ending } = await play([{ send: 'x' }], {}, (host) => {
      setImmediate(() => host.stdout.destroy(Object.assign(new Error('full'), { code: 'ENOSPC' })));
    });
    expect(ending).toEqual({ kind: 'output-lost', status: 74 });
  });

  it('a machine that cannot be made leaves the terminal alone', async () => {
    const host = new TestHost();
    await expect(
      drive(host, {}, () => {
        throw new Error('no image');
      }),
    ).rejects.toThrow('no image');
    expect(host.stdin.listenerCount('data')).toBe(0);
  });
});

describe('standard input', () => {
  it('reaches the guest', async () => {
    const { ending, machine, host } = await play([], {}, (host, machine) => {
      machine.answer = (received) => (received.endsWith('uname\n') ? 'Linux\n' : '');
      host.stdin.write('una');
      setImmediate(() => host.stdin.write('me\n'));
      host.stdout.once('data', () => host.stdin.write('\x01x'));
    });
    expect(ending).toEqual({ kind: 'left', status: 0 });
    expect(Buffer.from(machine.received).toString()).toBe('uname\n');
    expect(host.out).toBe('Linux\n');
  });

  it('leaves on Ctrl-A x, in one piece or in two, and says nothing', async () => {
    for (const pieces of [['\x01x'], ['\x01', 'x'], ['\x01X']]) {
      const { ending, host } = await play([], {}, (testHost) => {
        for (const piece of pieces) testHost.stdin.write(piece);
      });
      expect(ending).toEqual({ kind: 'left', status: 0 });
      expect(host.error).toBe('');
    }
  });

  it('sends Ctrl-A for Ctrl-A Ctrl-A and Ctrl-A a, and leaves other keys alone', async () => {
    const { machine } = await play([], {}, (host) => host.stdin.write('\x01\x01 \x01a \x01q\x01xrest'));
    expect(machine.received).toEqual([1, 0x20, 1, 0x20, 1, 0x71]);
  });

  it('puts a terminal into raw mode and back', async () => {
    const modes: boolean[] = [];
    await play([{ stop: { kind: 'power-off' } }], {}, (host) => {
      host.stdin.isTTY = true;
      host.stdin.setRawMode = (raw) => modes.push(raw);
    });
    expect(modes).toEqual([true, false]);
  });

  it('gives the terminal back when the machine breaks', async () => {
    const modes: boolean[] = [];
    const broken = play([], {}, (host, machine) => {
      host.stdin.isTTY = true;
      host.stdin.setRawMode = (raw) => modes.push(raw);
      machine.run = () => {
        throw new Error('broken');
      };
    });
    await expect(broken).rejects.toThrow('broken');
    expect(modes).toEqual([true, false]);
  });
});

describe('a guest that waits', () => {
  it('with a timer armed goes on at once when nobody watches', async () => {
    const { ending } = await play([
      { stop: { kind: 'halted', wakeAfter: 3_600e9 } },
      { stop: { kind: 'power-off' } },
    ]);
    expect(ending.kind).toBe('power-off');
  });

  it('without a timer waits for input, which wakes it', async () => {
    const { machine, ending } = await play(
      [{ stop: { kind: 'halted', wakeAfter: Number.POSITIVE_INFINITY } }],
      {},
      (host) => {
        setTimeout(() => host.stdin.write('k\x01x'), 20);
      },
    );
    expect(machine.received).toEqual([0x6b]);
    expect(ending.kind).toBe('left');
  });

  it('without a timer ends when no input can come', async () => {
    const { ending } = await play([], {}, (host, machine) => {
      machine.idle = { kind: 'halted', wakeAfter: Number.POSITIVE_INFINITY };
      host.stdin.end();
    });
    expect(ending).toMatchObject({ kind: 'dead', status: 124 });
    expect(ending.sentence).toMatch(/nothing is left that could wake it/);
  });

  it('at a terminal sleeps as long as the guest does', async () => {
    const before = performance.now();
    await play(
      [{ stop: { kind: 'halted', wakeAfter: 60e6 } }, { stop: { kind: 'power-off' } }],
      {},
      (host) => {
        host.stdin.isTTY = true;
      },
    );
    expect(performance.now() - before).toBeGreaterThanOrEqual(55);
  });
});
