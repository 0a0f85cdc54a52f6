// Memory of other processes, mapped here: what kind of file it is, and what to do when it vanishes.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// A descriptor that stands for a process (pidfd_open(2)), or -1 with errno.
int cclient_open_process(pid_t process);
/// Whether the process has ended: also if nobody has waited for it yet.
bool cclient_has_ended(int process_descriptor);

/// Whether the file is memory (tmpfs, which memfd and anonymous shared memory are files of, or hugetlbfs): a fault on a mapping of it
/// is served by the kernel alone, never by another process. Puts its page size at `page`.
bool cclient_is_memory(int file, size_t *page);

/// A counter that threads and signal handlers raise (eventfd(2)), readable while it isn't zero; -1 with errno.
int cclient_make_event(void);
void cclient_raise(int event);
void cclient_clear(int event);

/// Guards a mapping whose file others can make shorter. An access to pages that are gone (SIGBUS) finds zeroes from then on, from the
/// first such page to the mapping's end; the guard remembers, and raises `event`.
/// Returns the guard's number, or -1 if there are too many.
int32_t cclient_guard(void *start, size_t count, size_t page, int event);
bool cclient_is_lost(int32_t guard);
/// Before the mapping goes away.
void cclient_unguard(int32_t guard);
