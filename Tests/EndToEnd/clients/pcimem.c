// Reads or writes registers through a mapping, as `pcimem` and `devmem` do: `pcimem FILE OFFSET b|w|l|q [VALUE]`.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

int main(int count, char **arguments) {
    if (count < 4) return fprintf(stderr, "usage: pcimem FILE OFFSET b|w|l|q [VALUE]\n"), 2;
    size_t offset = strtoul(arguments[2], NULL, 0), within = offset & 4095;
    int file = open(arguments[1], O_RDWR | O_SYNC);
    // At least a page, also of a smaller BAR.
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, (off_t)(offset - within));
    if (page == MAP_FAILED) return perror("mmap"), 1;
    volatile void *at = page + within;
    uint64_t value = count > 4 ? strtoull(arguments[4], NULL, 0) : 0;
    switch (arguments[3][0]) {
    case 'b': if (count > 4) *(volatile uint8_t *)at = (uint8_t)value; else value = *(volatile uint8_t *)at; break;
    case 'w': if (count > 4) *(volatile uint16_t *)at = (uint16_t)value; else value = *(volatile uint16_t *)at; break;
    case 'l': if (count > 4) *(volatile uint32_t *)at = (uint32_t)value; else value = *(volatile uint32_t *)at; break;
    case 'q': if (count > 4) *(volatile uint64_t *)at = value; else value = *(volatile uint64_t *)at; break;
    default: return 2;
    }
    printf("0x%llx\n", (unsigned long long)value);
    return 0;
}
