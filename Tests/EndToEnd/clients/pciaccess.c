// What libpciaccess makes of every device: identity, BARs, capabilities in configuration space, and a register of a mapped BAR and of an
// I/O BAR of the functions named, as `pciaccess [FUNCTION BAR OFFSET]...`.
#include <inttypes.h>
#include <pciaccess.h>
#include <stdio.h>
#include <stdlib.h>

static void show(struct pci_device *device) {
    pci_device_probe(device);
    printf("%04x:%02x:%02x.%x %04x:%04x subsystem %04x:%04x class %06x revision %02x irq %d\n", device->domain, device->bus, device->dev,
           device->func, device->vendor_id, device->device_id, device->subvendor_id, device->subdevice_id, device->device_class,
           device->revision, device->irq);
    for (int i = 0; i < 6; i++) {
        const struct pci_mem_region *region = &device->regions[i];
        if (region->size == 0) continue;
        printf("  BAR%d at %#" PRIx64 ", %" PRIu64 " bytes%s%s%s\n", i, (uint64_t)region->base_addr, (uint64_t)region->size,
               region->is_IO ? ", I/O" : "", region->is_64 ? ", 64 bits" : "", region->is_prefetchable ? ", prefetchable" : "");
    }
    uint8_t next = 0, identity = 0;
    pci_device_cfg_read_u8(device, &next, 0x34);
    printf("  capabilities");
    for (; next; pci_device_cfg_read_u8(device, &next, next + 1)) {
        pci_device_cfg_read_u8(device, &identity, next);
        printf(" %02x@%02x", identity, next);
    }
    printf("\n");
}

static int show_register(const char *function, int bar, unsigned long offset) {
    struct pci_slot_match match = {0};
    sscanf(function, "%x:%x:%x.%x", &match.domain, &match.bus, &match.dev, &match.func);
    struct pci_device_iterator *all = pci_slot_match_iterator_create(&match);
    struct pci_device *device = pci_device_next(all);
    pci_iterator_destroy(all);
    if (!device) return 1;
    const struct pci_mem_region *region = &device->regions[bar];
    if (region->is_IO) {
        struct pci_io_handle *ports = pci_device_open_io(device, region->base_addr, region->size);
        if (!ports) return 1;
        printf("%s BAR%d+%#lx: %#x by ports\n", function, bar, offset, pci_io_read32(ports, (uint32_t)offset));
        pci_device_close_io(device, ports);
        return 0;
    }
    void *memory;
    if (pci_device_map_range(device, region->base_addr, region->size, PCI_DEV_MAP_FLAG_WRITABLE, &memory) != 0) return 1;
    printf("%s BAR%d+%#lx: %#x by memory\n", function, bar, offset, *(volatile uint32_t *)((char *)memory + offset));
    pci_device_unmap_range(device, memory, region->size);
    return 0;
}

int main(int count, char **arguments) {
    if (pci_system_init() != 0) return 1;
    struct pci_device_iterator *all = pci_slot_match_iterator_create(NULL);
    for (struct pci_device *device; (device = pci_device_next(all));) show(device);
    pci_iterator_destroy(all);
    int failed = 0;
    for (int i = 1; i + 2 < count; i += 3) {
        failed |= show_register(arguments[i], atoi(arguments[i + 1]), strtoul(arguments[i + 2], NULL, 0));
    }
    pci_system_cleanup();
    return failed;
}
