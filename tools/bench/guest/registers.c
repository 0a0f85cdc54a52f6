/* A guest program that does little but load and store registers: eight accesses a round to the four words at `block`. */

typedef unsigned int u32;

volatile u32 iterations = 2000000;
/* SYSCTL.SCRATCH. QEMU's virt machine has nothing there, but it has a PLIC where the device has one: priorities at 0x0c000004. */
volatile u32 block = 0x10020180;
volatile u32 result;

__attribute__((noreturn)) void finish(void);

void main(void) {
    volatile u32 *registers = (volatile u32 *)block;
    u32 sum = 0;
    for (u32 i = 0, rounds = iterations; i < rounds; i++) {
        registers[0] = i & 1;
        sum += registers[0];
        registers[1] = sum & 1;
        sum += registers[1];
        registers[2] = i >> 1 & 1;
        sum += registers[2];
        registers[3] = sum & 1;
        sum += registers[3];
    }
    result = sum;
    finish();
}
