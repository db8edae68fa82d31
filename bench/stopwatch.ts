/** Seconds on the clock, and seconds that this process's threads worked: the second counts less of what others do. */
export interface Elapsed {
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/** Starts counting; each call of the result says how much has passed. */
export function startStopwatch(): () => Elapsed {
  const cpu = process.cpuUsage();
  const started = performance.now();
  return () => {
    const seconds = (performance.now() - started) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    return { seconds, cpuSeconds: (user + system) / 1e6 };
  };
}
