// What the compiler expects of a C library and of its own run-time library (compiler-rt), without either.
// There is no allocator: firmware that would need one doesn't link.

#include "Runtime.h"
#include <stddef.h>

#define NOINIT __attribute__((section(".noinit"), used))

struct runtime_fault_frame offload_fault_frame NOINIT;
struct runtime_fault_stack offload_fault_stack NOINIT;
uint32_t offload_trace[runtime_trace_words] NOINIT;
uint32_t offload_counters[runtime_counter_words];
uint32_t *runtime_trace(void) { return offload_trace; }
uint32_t *runtime_counters(void) { return offload_counters; }
uint64_t offload_kept[runtime_kept_bytes / 8] NOINIT;
void *runtime_kept(void) { return offload_kept; }
static uint64_t arena[runtime_arena_bytes / 8] __attribute__((section(".arena")));
void *runtime_arena(void) { return arena; }

extern char __text_start[], __text_end[], __rodata_end[], __stack_guard[], __stack_bottom[], __stack_top[], __sram_end[];
uint32_t runtime_text_start(void) { return (uint32_t)__text_start; }
uint32_t runtime_text_end(void) { return (uint32_t)__text_end; }
uint32_t runtime_rodata_end(void) { return (uint32_t)__rodata_end; }
uint32_t runtime_stack_guard(void) { return (uint32_t)__stack_guard; }
uint32_t runtime_stack_bottom(void) { return (uint32_t)__stack_bottom; }
uint32_t runtime_sram_end(void) { return (uint32_t)__sram_end; }

// A stack pointer that is no place in the stack keeps nothing: reading there could fault.
void runtime_keep_fault_stack(uint32_t stack_pointer) {
    const uint32_t *top = (const uint32_t *)__stack_top;
    const uint32_t *word = (const uint32_t *)(stack_pointer & ~3u);
    offload_fault_stack.address = (uint32_t)word;
    for (int n = 0; n < runtime_fault_stack_words; n++) {
        int is_stack = word + n >= (const uint32_t *)__stack_bottom && word + n < top;
        offload_fault_stack.words[n] = is_stack ? word[n] : 0;
    }
}

// Stack protector. The guard is a constant, against accidents: no attacker chooses the firmware's input and reads its memory.
const uintptr_t __stack_chk_guard = 0x5f3700df;
_Noreturn void __stack_chk_fail(void) { runtime_break(); }

void *memset(void *destination, int value, size_t count) {
    unsigned char *d = destination;
    uint32_t word = (uint8_t)value * 0x01010101u;
    for (; count != 0 && ((uintptr_t)d & 3) != 0; count--) *d++ = (unsigned char)value;
    for (; count >= 32; count -= 32, d += 32) {
        uint32_t *w = (uint32_t *)d;
        w[0] = word; w[1] = word; w[2] = word; w[3] = word; w[4] = word; w[5] = word; w[6] = word; w[7] = word;
    }
    for (; count >= 4; count -= 4, d += 4) *(uint32_t *)d = word;
    for (; count != 0; count--) *d++ = (unsigned char)value;
    return destination;
}

void *memcpy(void *destination, const void *source, size_t count) {
    unsigned char *d = destination;
    const unsigned char *s = source;
    if ((((uintptr_t)d ^ (uintptr_t)s) & 3) == 0) {
        for (; count != 0 && ((uintptr_t)d & 3) != 0; count--) *d++ = *s++;
        for (; count >= 16; count -= 16, d += 16, s += 16) {
            uint32_t *to = (uint32_t *)d;
            const uint32_t *from = (const uint32_t *)s;
            uint32_t a = from[0], b = from[1], c = from[2], e = from[3];
            to[0] = a; to[1] = b; to[2] = c; to[3] = e;
        }
        for (; count >= 4; count -= 4, d += 4, s += 4) *(uint32_t *)d = *(const uint32_t *)s;
    }
    for (; count != 0; count--) *d++ = *s++;
    return destination;
}

void *memmove(void *destination, const void *source, size_t count) {
    unsigned char *d = destination;
    const unsigned char *s = source;
    if (d <= s || d >= s + count) return memcpy(destination, source, count);
    for (; count != 0; count--) d[count - 1] = s[count - 1];
    return destination;
}

int memcmp(const void *left, const void *right, size_t count) {
    const unsigned char *l = left, *r = right;
    for (; count != 0; count--, l++, r++) {
        if (*l != *r) return *l - *r;
    }
    return 0;
}

// 64-bit arithmetic, by halves: an RV32 hart has no instruction for it, and a shift of a 64-bit value here would call itself.
typedef union { uint64_t whole; struct { uint32_t low, high; }; } halves;

uint64_t __ashldi3(uint64_t value, int count) {
    halves v = {value}, r;
    count &= 63;
    if (count == 0) return value;
    if (count >= 32) { r.low = 0; r.high = v.low << (count - 32); }
    else { r.low = v.low << count; r.high = v.high << count | v.low >> (32 - count); }
    return r.whole;
}

uint64_t __lshrdi3(uint64_t value, int count) {
    halves v = {value}, r;
    count &= 63;
    if (count == 0) return value;
    if (count >= 32) { r.low = v.high >> (count - 32); r.high = 0; }
    else { r.low = v.low >> count | v.high << (32 - count); r.high = v.high >> count; }
    return r.whole;
}

int64_t __ashrdi3(int64_t value, int count) {
    halves v = {(uint64_t)value}, r;
    int32_t high = (int32_t)v.high;
    count &= 63;
    if (count == 0) return value;
    if (count >= 32) { r.low = (uint32_t)(high >> (count - 32)); r.high = (uint32_t)(high >> 31); }
    else { r.low = v.low >> count | v.high << (32 - count); r.high = (uint32_t)(high >> count); }
    return (int64_t)r.whole;
}

// Division, bit by bit, from the highest bit of the dividend; by the hart's own instruction where both values have 32 bits.
// A division by zero gives all ones and the dividend, as divu and remu do.
uint64_t __udivmoddi4(uint64_t dividend, uint64_t divisor, uint64_t *remainder) {
    halves n = {dividend}, d = {divisor}, q = {0}, r = {0};
    if (n.high == 0 && d.high == 0) {
        if (remainder) *remainder = n.low % d.low;
        return n.low / d.low;
    }
    for (int bit = 63; bit >= 0; bit--) {
        r.high = r.high << 1 | r.low >> 31;
        r.low = r.low << 1 | n.high >> 31;
        n.high = n.high << 1 | n.low >> 31;
        n.low <<= 1;
        q.high = q.high << 1 | q.low >> 31;
        q.low <<= 1;
        if (r.whole >= divisor) { r.whole -= divisor; q.low |= 1; }
    }
    if (remainder) *remainder = r.whole;
    return q.whole;
}

uint64_t __udivdi3(uint64_t dividend, uint64_t divisor) { return __udivmoddi4(dividend, divisor, 0); }

uint64_t __umoddi3(uint64_t dividend, uint64_t divisor) {
    uint64_t remainder;
    __udivmoddi4(dividend, divisor, &remainder);
    return remainder;
}

static uint64_t magnitude(int64_t value) { return value < 0 ? -(uint64_t)value : (uint64_t)value; }

int64_t __divdi3(int64_t dividend, int64_t divisor) {
    uint64_t quotient = __udivdi3(magnitude(dividend), magnitude(divisor));
    return (int64_t)((dividend < 0) != (divisor < 0) ? -quotient : quotient);
}

int64_t __moddi3(int64_t dividend, int64_t divisor) {
    uint64_t remainder = __umoddi3(magnitude(dividend), magnitude(divisor));
    return (int64_t)(dividend < 0 ? -remainder : remainder);
}
