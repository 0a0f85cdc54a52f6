// Port instructions: iopl and ioperm succeed, and what faults afterwards reaches the I/O BAR at that port.
#include "Trap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

// Of the flags in sysfs's `resource` file: <linux/ioport.h>.
#define RESOURCE_IO 0x100
static const char devices[] = "/sys/bus/pci/devices";

enum { PORTS = 1 << 16, CAPACITY = 128, BARS = 6 };
static struct { uint16_t first, last; int file; } bars[CAPACITY];
static atomic_uint count;
static atomic_bool all_granted;
static atomic_uchar granted[PORTS / 8];

static void add_bars(const char *function) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s/resource", devices, function);
    FILE *resources = fopen(path, "re");
    if (!resources) return;
    for (unsigned number = 0; number < BARS; number++) {
        unsigned long long first, last, flags;
        if (fscanf(resources, "%llx %llx %llx", &first, &last, &flags) != 3) break;
        unsigned place = atomic_load(&count);
        if (!(flags & RESOURCE_IO) || last >= PORTS || place == CAPACITY) continue;
        snprintf(path, sizeof path, "%s/%s/resource%u", devices, function, number);
        int file = open(path, O_RDWR | O_CLOEXEC);
        if (file < 0) continue;
        bars[place].first = (uint16_t)first;
        bars[place].last = (uint16_t)last;
        bars[place].file = trap_keep_file(file);
        close(file);
        if (bars[place].file >= 0) atomic_store(&count, place + 1);
    }
    fclose(resources);
}

// Finds the I/O BARs, once: the program asks for its right before it uses a port.
static bool find_bars(void) {
    if (atomic_load(&count) == 0) {
        DIR *folder = opendir(devices);
        if (!folder) return true;
        for (struct dirent *entry; (entry = readdir(folder));) {
            if (entry->d_name[0] != '.') add_bars(entry->d_name);
        }
        closedir(folder);
    }
    return trap_activate();
}

TRAP_EXPORT int iopl(int level) {
    if (level < 0 || level > 3) return errno = EINVAL, -1;
    if (level == 3 && !find_bars()) return errno = EPERM, -1;
    atomic_store(&all_granted, level == 3);
    return 0;
}

TRAP_EXPORT int ioperm(unsigned long from, unsigned long number, int on) {
    if (from >= PORTS || number > PORTS - from) return errno = EINVAL, -1;
    if (on && !find_bars()) return errno = EPERM, -1;
    for (unsigned long port = from; port < from + number; port++) {
        if (on) atomic_fetch_or(&granted[port / 8], (unsigned char)(1 << port % 8));
        else atomic_fetch_and(&granted[port / 8], (unsigned char)~(1 << port % 8));
    }
    return 0;
}

static bool may_use(unsigned port, unsigned size) {
    if (atomic_load(&all_granted)) return port + size <= PORTS;
    for (unsigned i = port; i < port + size; i++) {
        if (i >= PORTS || !(atomic_load(&granted[i / 8]) & 1 << i % 8)) return false;
    }
    return true;
}

static void access_port(unsigned port, void *bytes, unsigned size, bool writes) {
    unsigned present = atomic_load(&count);
    for (unsigned i = 0; i < present; i++) {
        if (bars[i].first <= port && port <= bars[i].last) {
            trap_transfer(bars[i].file, port - bars[i].first, bytes, size, writes);
            return;
        }
    }
    // Nobody is there, as at the port 0x80 that some write to for the delay.
    if (!writes) memset(bytes, 0xff, size);
}

bool trap_is_port_instruction(const trap_instruction *instruction) {
    return instruction->code.meta.category == ZYDIS_CATEGORY_IO || instruction->code.meta.category == ZYDIS_CATEGORY_IOSTRINGOP;
}

bool trap_access_port(ucontext_t *context, const trap_instruction *instruction) {
    greg_t *registers = context->uc_mcontext.gregs;
    const ZydisDecodedInstruction *decoded = &instruction->code;
    bool string = decoded->meta.category == ZYDIS_CATEGORY_IOSTRINGOP;
    bool writes;
    switch (decoded->mnemonic) {
    case ZYDIS_MNEMONIC_IN: case ZYDIS_MNEMONIC_INSB: case ZYDIS_MNEMONIC_INSW: case ZYDIS_MNEMONIC_INSD: writes = false; break;
    case ZYDIS_MNEMONIC_OUT: case ZYDIS_MNEMONIC_OUTSB: case ZYDIS_MNEMONIC_OUTSW: case ZYDIS_MNEMONIC_OUTSD: writes = true; break;
    default: return false;
    }
    // IN and INS name the port second, OUT and OUTS first.
    const ZydisDecodedOperand *port_operand = &instruction->operands[writes ? 0 : 1];
    const ZydisDecodedOperand *value_operand = &instruction->operands[writes ? 1 : 0];
    unsigned size = value_operand->size / 8;
    unsigned port = (unsigned)registers[REG_RDX] & 0xffff;
    if (port_operand->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) port = (unsigned)port_operand->imm.value.u & 0xff;
    if (!may_use(port, size)) return false;

    if (string) {
        if (decoded->address_width != 64) return trap_refuse(context, instruction, "its addresses have 32 bits");
        access_port(port, (void *)registers[writes ? REG_RSI : REG_RDI], size, writes);
        trap_step_string(context, instruction, size, writes, !writes);
        return true;
    }
    uint64_t value = (uint64_t)registers[REG_RAX];
    access_port(port, &value, size, writes);
    if (!writes) trap_set_register(&registers[REG_RAX], value, size);
    registers[REG_RIP] += decoded->length;
    return true;
}
