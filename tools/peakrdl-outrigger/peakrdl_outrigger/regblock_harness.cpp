// Plays the script of Tests/RegblockReference to a Verilated register block and compares; see regblock_check.py.
#include "Vcheck.h"
#include <cinttypes>
#include <cstdio>

static Vcheck top;

static void cycle() {
    top.clk = 0;
    top.eval();
    top.clk = 1;
    top.eval();
}

// Two idle cycles: levels show again, pulses end, buffered writes take effect.
static void settle() {
    top.req = 0;
    top.hw_valid = 0;
    top.rst = 0;
    cycle();
    cycle();
    top.clk = 0;
    top.eval();
}

int main(int argc, char **argv) {
    FILE *script = argc == 2 ? fopen(argv[1], "r") : nullptr;
    if (!script) {
        fprintf(stderr, "expected the script's path\n");
        return 2;
    }
    top.rst = 1;
    top.req = 0;
    top.hw_valid = 0;
    cycle();
    cycle();
    settle();
    char line[256];
    uint64_t steps = 0, accesses = 0;
    while (fgets(line, sizeof line, script)) {
        uint64_t a = 0, data = 0, lanes = 0, id = 0, element = 0, value = 0, lines = 0, expected = 0;
        steps++;
        switch (line[0]) {
        case 'W':
            if (sscanf(line + 1, "%" SCNx64 "%" SCNx64 "%" SCNx64 "%" SCNx64 "%" SCNx64 "%" SCNx64 "%" SCNx64,
                       &a, &data, &lanes, &id, &element, &value, &lines) != 7) return 2;
            top.req = 1;
            top.is_write = 1;
            top.address = a;
            top.data = data;
            top.lanes = lanes;
            top.hw_valid = id != 0;
            top.hw_id = id;
            top.hw_element = element;
            top.hw_value = value;
            cycle();
            accesses++;
            break;
        case 'R':
            if (sscanf(line + 1, "%" SCNx64 "%" SCNx64 "%" SCNx64, &a, &expected, &lines) != 3) return 2;
            top.req = 1;
            top.is_write = 0;
            top.address = a;
            top.clk = 0;
            top.eval();
            if (!top.ready || top.result != expected) {
                printf("step %" PRIu64 ": read of 0x%" PRIx64 ": SystemVerilog has 0x%" PRIx64 ", ours 0x%" PRIx64 "\n", steps, a,
                       (uint64_t)top.result, expected);
                return 1;
            }
            cycle();
            accesses++;
            break;
        case 'H':
            if (sscanf(line + 1, "%" SCNx64 "%" SCNx64 "%" SCNx64 "%" SCNx64, &id, &element, &value, &lines) != 4) return 2;
            top.hw_valid = 1;
            top.hw_id = id;
            top.hw_element = element;
            top.hw_value = value;
            cycle();
            break;
        case 'Z':
            if (sscanf(line + 1, "%" SCNx64, &lines) != 1) return 2;
            top.rst = 1;
            cycle();
            break;
        default:
            return 2;
        }
        settle();
        if (top.lines != lines) {
            printf("step %" PRIu64 ": interrupt lines: SystemVerilog has 0x%" PRIx64 ", ours 0x%" PRIx64 "\n",
                   steps, (uint64_t)top.lines, lines);
            return 1;
        }
    }
    fclose(script);
    printf("%" PRIu64 " steps with %" PRIu64 " accesses, no difference", steps, accesses);
    return 0;
}
