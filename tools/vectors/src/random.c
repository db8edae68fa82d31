#include "random.h"

u64 random_seed = 1;
static u64 state;

void random_restart(const char *family, const char *form) {
  u64 hash = 0xcbf29ce484222325ull ^ random_seed * 0x9e3779b97f4a7c15ull;
  for (const char *at = family; *at; at++) hash = (hash ^ (u8)*at) * 0x100000001b3ull;
  hash = (hash ^ '/') * 0x100000001b3ull;
  for (const char *at = form; *at; at++) hash = (hash ^ (u8)*at) * 0x100000001b3ull;
  state = hash;
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
u64 random_u64(void) {
  u64 z = state += 0x9e3779b97f4a7c15ull;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return z ^ z >> 31;
}

u32 below(u32 limit) { return (u32)((random_u64() >> 32) * limit >> 32); }

bool chance(u32 percent) { return below(100) < percent; }

static u64 truncate_to(int size, u64 value) { return size == 64 ? value : value & ((1ull << size) - 1); }

u64 boundary(int size, u32 index) {
  u64 sign = 1ull << (size - 1);
  const u64 values[BOUNDARIES] = {0,        1,        2,    ~0ull, ~1ull,  sign,  sign - 1,
                                  sign + 1, sign >> 1, 0x0f, 0x10,  0xff,  0x5555555555555555ull,
                                  0xaaaaaaaaaaaaaaaaull};
  return truncate_to(size, values[index % BOUNDARIES]);
}

u64 operand(int size) {
  switch (below(8)) {
  case 0:
  case 1: return boundary(size, below(BOUNDARIES));
  case 2: return 1ull << below((u32)size);
  case 3: return truncate_to(size, (1ull << below((u32)size)) - 1 + (chance(30) ? below(3) : 0));
  case 4: return truncate_to(size, chance(50) ? below(256) : 0 - (u64)below(256));
  default: return truncate_to(size, random_u64());
  }
}
