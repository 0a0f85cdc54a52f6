// Accesses to mapped registers and ports of the card of `filesystem-server`, in every form, beside the same instructions on plain memory.
// To be run by `outrigger exec`: `trap-check [CHECK...]`, or all.
#define _GNU_SOURCE
#include "Check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void check_failed(const char *file, int line, const char *condition, const char *format, ...) {
    fprintf(stderr, "%s:%d: %s doesn't hold: ", file, line, condition);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, " (%s)\n", strerror(errno));
    _exit(1);
}

int open_bar(int number) {
    char path[64];
    snprintf(path, sizeof path, CARD "resource%d", number);
    int file = open(path, O_RDWR | O_CLOEXEC);
    CHECK(file >= 0, "%s", path);
    return file;
}

volatile uint8_t *map_bar(int number, size_t bytes, size_t offset, int protection, void *place) {
    int file = open_bar(number);
    uint8_t *memory = mmap(place, bytes, protection, MAP_SHARED | (place ? MAP_FIXED : 0), file, (off_t)offset);
    close(file);
    CHECK(memory != MAP_FAILED, "resource%d", number);
    return memory;
}

const char *accesses(void) {
    static char text[1 << 16];
    int file = open(CARD "accesses", O_RDONLY | O_CLOEXEC);
    CHECK(file >= 0);
    ssize_t length = pread(file, text, sizeof text - 1, 0);
    CHECK(length >= 0);
    text[length] = 0;
    close(file);
    return text;
}

bool were_accesses(int bar, long base, const char *expected) {
    static char found[1 << 16];
    size_t length = 0;
    found[0] = 0;
    for (const char *line = accesses(); *line; line = strchr(line, '\n') + 1) {
        char kind[8];
        int number;
        long offset;
        if (sscanf(line, "%7s %d %ld\n", kind, &number, &offset) != 3 || *line == '\n') break;
        if (number != bar) return false;
        length += (size_t)snprintf(found + length, sizeof found - length, "%s%s%+ld", length ? " " : "", kind, offset - base);
    }
    if (strcmp(found, expected) == 0) return true;
    fprintf(stderr, "expected \"%s\", found \"%s\"\n", expected, found);
    return false;
}

int main(int count, char **arguments) {
    static const struct { const char *name; void (*run)(void); } checks[] = {
        {"forms", check_forms},     {"ports", check_ports},     {"mappings", check_mappings},
        {"signals", check_signals}, {"threads", check_threads}, {"fork", check_fork},
    };
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        bool wanted = count == 1;
        for (int argument = 1; argument < count; argument++) wanted |= strcmp(arguments[argument], checks[i].name) == 0;
        if (!wanted) continue;
        checks[i].run();
        printf("%s: as expected\n", checks[i].name);
        fflush(stdout);
    }
    return 0;
}
