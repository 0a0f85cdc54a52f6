// What the checks share.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CARD "/sys/bus/pci/devices/0000:01:00.0/"
enum { PAGE = 4096, BAR0_BYTES = 8192, BAR1_BYTES = 64, PORT = 0xc000 };

// Ends the program with a line on standard error unless a condition holds.
#define CHECK(condition, ...) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition, "" __VA_ARGS__))
void check_failed(const char *file, int line, const char *condition, const char *format, ...) __attribute__((noreturn));

int open_bar(int number);
// Maps a BAR: `bytes` from `offset` on, at `place` if that isn't NULL.
volatile uint8_t *map_bar(int number, size_t bytes, size_t offset, int protection, void *place);
// The accesses since the last call, a line `KINDSIZE BAR OFFSET` each.
const char *accesses(void);
// Whether those accesses are these, as `KINDSIZE+OFFSET KINDSIZE+OFFSET...` of one BAR, relative to `base`.
bool were_accesses(int bar, long base, const char *expected);

void check_forms(void);
void check_ports(void);
void check_mappings(void);
void check_signals(void);
void check_threads(void);
void check_fork(void);
