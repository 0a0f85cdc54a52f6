// The program's memory that stands for BARs. Readers are signal handlers, which can't wait: a sequence number tells them to look again.
#include "Trap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { CAPACITY = 256 };
static trap_region regions[CAPACITY];
static atomic_uint count;
// Odd while somebody changes `regions`.
static atomic_uint sequence;

static bool look_up(uintptr_t start, uintptr_t end, trap_region *found) {
    if (atomic_load_explicit(&count, memory_order_acquire) == 0) return false;
    for (;;) {
        unsigned before = atomic_load_explicit(&sequence, memory_order_acquire);
        if (before & 1) continue;
        bool hit = false;
        unsigned present = atomic_load_explicit(&count, memory_order_relaxed);
        for (unsigned i = 0; i < present && !hit; i++) {
            hit = regions[i].start < end && start < regions[i].end;
            if (hit) *found = regions[i];
        }
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&sequence, memory_order_relaxed) == before) return hit;
    }
}

bool trap_find(uintptr_t address, trap_region *region) { return look_up(address, address + 1, region); }

bool trap_overlaps(uintptr_t start, uintptr_t end) {
    trap_region region;
    return look_up(start, end, &region);
}

static void begin_change(void) {
    atomic_fetch_add_explicit(&sequence, 1, memory_order_acq_rel);
    atomic_thread_fence(memory_order_release);
}

static void end_change(void) { atomic_fetch_add_explicit(&sequence, 1, memory_order_release); }

// Under the lock and between begin_change and end_change. The descriptor becomes the region's own.
static bool append(trap_region region) {
    unsigned present = atomic_load_explicit(&count, memory_order_relaxed);
    if (region.file < 0) return false;
    if (present == CAPACITY) return close(region.file), errno = ENOMEM, false;
    regions[present] = region;
    atomic_store_explicit(&count, present + 1, memory_order_release);
    return true;
}

bool trap_add(trap_region region) {
    region.file = trap_keep_file(region.file);
    trap_lock_state lock = trap_lock();
    begin_change();
    bool added = append(region);
    end_change();
    trap_unlock(lock);
    return added;
}

// Cuts what is between two addresses out of every region; the pieces in between get another protection, or go if that is negative.
static void carve(uintptr_t start, uintptr_t end, int protection) {
    trap_lock_state lock = trap_lock();
    begin_change();
    for (unsigned i = 0; i < atomic_load_explicit(&count, memory_order_relaxed);) {
        trap_region whole = regions[i];
        uintptr_t low = start > whole.start ? start : whole.start, high = end < whole.end ? end : whole.end;
        bool done = low >= high || whole.protection == protection;
        if (done) {
            i++;
            continue;
        }
        unsigned last = atomic_load_explicit(&count, memory_order_relaxed) - 1;
        regions[i] = regions[last];
        atomic_store_explicit(&count, last, memory_order_relaxed);
        // Of the pieces that stay one keeps the descriptor: other threads may be in an access.
        trap_region pieces[] = {
            {whole.start, low, whole.file, whole.offset, whole.protection},
            {low, protection < 0 ? low : high, whole.file, whole.offset + (low - whole.start), protection},
            {high, whole.end, whole.file, whole.offset + (high - whole.start), whole.protection},
        };
        bool kept = false;
        for (int piece = 0; piece < 3; piece++) {
            if (pieces[piece].start == pieces[piece].end) continue;
            if (kept) pieces[piece].file = trap_keep_file(whole.file);
            kept |= append(pieces[piece]);
        }
        if (!kept) close(whole.file);
    }
    end_change();
    trap_unlock(lock);
}

void trap_remove(uintptr_t start, uintptr_t end) { carve(start, end, -1); }

void trap_protect(uintptr_t start, uintptr_t end, int protection) { carve(start, end, protection); }

int trap_keep_file(int file) {
    // Programs close what they think is theirs from the bottom up, and select() knows no more than 1024.
    struct rlimit limit;
    rlim_t most = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 1 << 20 ? limit.rlim_cur : 1024;
    return fcntl(file, F_DUPFD_CLOEXEC, (int)(most / 2));
}

void trap_transfer(int file, uint64_t offset, void *bytes, size_t size, bool writing) {
    for (uint8_t *at = bytes; size > 0;) {
        size_t piece = 8;
        while (piece > size || offset & (piece - 1)) piece >>= 1;
        ssize_t result;
        do result = writing ? pwrite(file, at, piece, (off_t)offset) : pread(file, at, piece, (off_t)offset);
        while (result < 0 && errno == EINTR);
        if (!writing && result != (ssize_t)piece) memset(at, 0xff, piece);
        at += piece, offset += piece, size -= piece;
    }
}
