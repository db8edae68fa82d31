/** Seeds and numbers of random scenarios have 32 bits. */
export const MOST_SEED = 0xffff_ffff;

/** What a seed must be. */
export const SEED_RULE = `a whole number from 0 to ${MOST_SEED}`;
