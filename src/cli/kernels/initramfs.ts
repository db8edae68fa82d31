import { gzipSync } from 'node:zlib';
import { type CpioEntry, packCpio } from './cpio.ts';

/** The busybox applets that /init uses by name. */
const APPLETS = [
  ...[
    'awk',
    'cat',
    'dd',
    'echo',
    'grep',
    'md5sum',
    'mkdir',
    'mount',
    'poweroff',
    'seq',
    'sh',
    'sleep',
    'sort',
    'tr',
  ],
  ...['uname', 'wc'],
];

/** The line that says user space came up; the kernel's version follows it. */
export const USERSPACE_MARK = 'UMBRA-USERSPACE-OK';
/** The line that says every check of the self-test was right. */
export const SELFTEST_MARK = 'UMBRA-SELFTEST-OK';

/**
 * What runs as process 1. The self-test crosses the paths where a wrong processor shows: arithmetic, a hash over
 * megabytes, processes and pipes (page faults, copy on write), and what CPUID says. `umbra.shell` on the kernel's
 * command line gives an interactive shell before the power goes off.
 */
const INIT = `#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev 2>/dev/null

echo "${USERSPACE_MARK} $(uname -r)"

failures=0
check() {
  if [ "$2" = "$3" ]; then
    echo "ok     $1: $2"
  else
    echo "FAILED $1: got '$2', expected '$3'"
    failures=$((failures + 1))
  fi
}

check 'shell arithmetic' "$((123456789 * 987 % 65537)) $((-7 / 2)) $((1 << 40))" '20772 -3 1099511627776'
check 'md5 of a word' "$(echo -n umbra | md5sum)" 'de2ae37826f96890f8313bebd7805b8b  -'
check 'md5 of 1 MiB of zeros' "$(dd if=/dev/zero bs=64k count=16 2>/dev/null | md5sum)" 'b6d81b360a5672d80c27430f39153e2c  -'
check 'a pipe of processes' "$(seq 1 200 | grep 7 | sort -rn | wc -l | tr -d ' ')" '38'
check 'floating point' "$(awk 'BEGIN { for (i = 1; i <= 2000; i++) s += 1 / (i * i); printf "%.9f %.9f", 355 / 113, s }')" '3.141592920 1.644434192'
check 'a file written and read' "$(mkdir -p /tmp && echo shadow >/tmp/f && cat /tmp/f)" 'shadow'
grep -m 1 '^model name' /proc/cpuinfo
grep -m 1 '^flags' /proc/cpuinfo

if [ "$failures" -eq 0 ]; then
  echo "${SELFTEST_MARK}"
else
  echo "UMBRA-SELFTEST-FAILED $failures"
fi

case " $(cat /proc/cmdline) " in
  *' umbra.shell '*)
    /bin/busybox --install -s /bin
    echo 'A busybox shell; "exit" powers off.'
    setsid cttyhack sh
    ;;
esac
poweroff -f
`;

/**
 * Makes the initramfs around a static busybox: a gzip-compressed cpio archive, the same bytes for the same busybox.
 */
export function makeInitramfs(busybox: Uint8Array): Uint8Array {
  const directories = ['bin', 'dev', 'proc', 'sys', 'tmp'];
  const entries: CpioEntry[] = [
    ...directories.map((name): CpioEntry => ({ kind: 'directory', name })),
    // The kernel opens /dev/console for process 1 before anything can mount a /dev.
    { kind: 'character-device', name: 'dev/console', major: 5, minor: 1 },
    { kind: 'character-device', name: 'dev/null', mode: 0o666, major: 1, minor: 3 },
    { kind: 'character-device', name: 'dev/zero', mode: 0o666, major: 1, minor: 5 },
    { kind: 'file', name: 'bin/busybox', mode: 0o755, data: busybox },
    ...APPLETS.map((applet): CpioEntry => ({ kind: 'symlink', name: `bin/${applet}`, target: 'busybox' })),
    { kind: 'file', name: 'init', mode: 0o755, data: new TextEncoder().encode(INIT) },
  ];
  const compressed = gzipSync(packCpio(entries), { level: 9 });
  // Byte 9 names the system that compressed (RFC 1952 2.3.1); 255 is "unknown", the same everywhere.
  compressed[9] = 255;
  return compressed;
}
