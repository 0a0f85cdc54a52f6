// What Swift cannot say: control and status registers, wfi, and what the linker and the start-up code define.
#ifndef OUTRIGGER_RUNTIME_H
#define OUTRIGGER_RUNTIME_H

#include <stdint.h>

#define READ_CSR(function, csr) \
    static inline uint32_t function(void) { uint32_t value; __asm__ volatile("csrr %0, " csr : "=r"(value)); return value; }
#define WRITE_CSR(function, csr) \
    static inline void function(uint32_t value) { __asm__ volatile("csrw " csr ", %0" : : "r"(value) : "memory"); }

READ_CSR(runtime_hart_id, "mhartid")
READ_CSR(runtime_cycle_low, "mcycle")
READ_CSR(runtime_cycle_high, "mcycleh")
READ_CSR(runtime_interrupts_pending, "mip")
WRITE_CSR(runtime_set_interrupts_enabled, "mie")

// PMP registers have their number in the instruction: hence one line for each.
WRITE_CSR(runtime_set_pmpcfg0, "pmpcfg0")
WRITE_CSR(runtime_set_pmpcfg1, "pmpcfg1")
WRITE_CSR(runtime_set_pmpcfg2, "pmpcfg2")
WRITE_CSR(runtime_set_pmpcfg3, "pmpcfg3")
static inline void runtime_set_pmpaddr(uint32_t index, uint32_t value) {
#define ONE(n) case n: __asm__ volatile("csrw pmpaddr" #n ", %0" : : "r"(value)); break;
    switch (index) {
        ONE(0) ONE(1) ONE(2) ONE(3) ONE(4) ONE(5) ONE(6) ONE(7)
        ONE(8) ONE(9) ONE(10) ONE(11) ONE(12) ONE(13) ONE(14) ONE(15)
    }
#undef ONE
}

// mstatus.MIE: bit 3.
static inline void runtime_interrupts_on(void) { __asm__ volatile("csrsi mstatus, 8" : : : "memory"); }
static inline void runtime_interrupts_off(void) { __asm__ volatile("csrci mstatus, 8" : : : "memory"); }
static inline void runtime_wait_for_interrupt(void) { __asm__ volatile("wfi" : : : "memory"); }
// Orders memory accesses before against those after (device and memory alike).
static inline void runtime_fence(void) { __asm__ volatile("fence iorw, iorw" : : : "memory"); }
_Noreturn static inline void runtime_break(void) { __asm__ volatile("ebreak"); __builtin_unreachable(); }

// The sections' borders (link.ld), as addresses.
uint32_t runtime_text_start(void);
uint32_t runtime_text_end(void);
uint32_t runtime_rodata_end(void);
uint32_t runtime_stack_guard(void);
uint32_t runtime_stack_bottom(void);
uint32_t runtime_sram_end(void);

// What a trap leaves behind in offload_fault_frame (start.S), in memory that survives a restart.
struct runtime_fault_frame {
    uint32_t x[32];
    uint32_t cause;
    uint32_t pc;
    uint32_t address;
    uint32_t status;
};

// The top of the stack at that trap, so that hosts can trace it back after a restart too: its address, then its words.
enum { runtime_fault_stack_words = 512 };
struct runtime_fault_stack {
    uint32_t address;
    uint32_t words[runtime_fault_stack_words];
};
void runtime_keep_fault_stack(uint32_t stack_pointer);

// The firmware's memory besides its stack (OffloadManager/Trace.swift, Counters.swift, Arena.swift); debuggers find the first two by
// their symbols. The trace survives a restart.
enum { runtime_trace_words = 4 + 512 * 4, runtime_counter_words = 32, runtime_arena_bytes = 1216 * 1024 };
// What the host has uploaded, and must outlive a restart.
enum { runtime_kept_bytes = 33 * 1024 };
void *runtime_kept(void);
uint32_t *runtime_trace(void);
uint32_t *runtime_counters(void);
void *runtime_arena(void);

#endif
