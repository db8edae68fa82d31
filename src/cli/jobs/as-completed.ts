/** Yields the values of promises in the order in which they come; throws with the first that is rejected. */
export async function* asCompleted<Value>(promises: readonly Promise<Value>[]): AsyncGenerator<Value> {
  const settle: ((promise: Promise<Value>) => void)[] = [];
  const inOrder = promises.map(() => new Promise<Value>((resolve) => settle.push(resolve)));
  let next = 0;
  for (const promise of promises) {
    const hand = (): void => settle[next++](promise);
    promise.then(hand, hand);
  }
  // Whoever stops at the first rejection must not be told of the others.
  for (const promise of inOrder) promise.catch(() => {});
  for (const promise of inOrder) yield await promise;
}
