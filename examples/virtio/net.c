// Sends frames through a network function whose wire leads back to it, and checks that each comes back: net FOLDER FRAMES [legacy]
#include "virtio.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/// 5.1.2, 5.1.3.
enum { RECEIVE = 0, TRANSMIT = 1, FEATURE_MAC = 5 };
enum { BURST = 32, BUFFER = 2048, FRAME = 64 };

int main(int count, char **arguments) {
    if (count < 3) fail("usage: net FOLDER FRAMES [legacy]");
    uint64_t frames = strtoull(arguments[2], NULL, 0);
    const struct transport *transport = count > 3 && strcmp(arguments[3], "legacy") == 0 ? &legacy : &modern;

    struct memory memory;
    memory_open(&memory);
    struct device device;
    device_open(&device, arguments[1], transport, FEATURE(VERSION_1) | FEATURE(FEATURE_MAC));
    struct queue receive, transmit;
    device_start_queue(&device, &receive, RECEIVE, 256, &memory);
    device_start_queue(&device, &transmit, TRANSMIT, 256, &memory);

    uint8_t mac[6];
    for (uint32_t i = 0; i < 6; i++) mac[i] = (uint8_t)device_configuration(&device, i, 1);

    // Before each frame is a header (5.1.6). All zeroes: no checksum to complete, nothing to segment. The last field came with virtio 1.0.
    const uint32_t header = transport == &legacy ? 10 : 12;
    // Receive buffers, each known by its descriptor.
    uint8_t *buffers = memory_take(&memory, (size_t)BUFFER * receive.size, 64);
    uint8_t *sent = memory_take(&memory, (size_t)BUFFER * BURST, 64);
    for (uint16_t i = 0; i < receive.size; i++) {
        queue_add(&receive, &(struct buffer){memory_address(&memory, buffers + BUFFER * i), BUFFER, true}, 1);
    }
    queue_publish(&receive);
    device_start(&device);
    device_notify(&device, &receive);

    uint64_t done = 0;
    while (done < frames) {
        // A burst of frames, and one notification for all of them.
        uint64_t burst = frames - done < BURST ? frames - done : BURST;
        for (uint64_t i = 0; i < burst; i++) {
            uint8_t *frame = sent + BUFFER * i;
            memset(frame, 0, header + FRAME);
            memcpy(frame + header, mac, 6);
            memcpy(frame + header + 6, mac, 6);
            // An EtherType for experiments, then the frame's number.
            memcpy(frame + header + 12, "\x88\xb5", 2);
            memcpy(frame + header + 14, &(uint64_t){done + i}, 8);
            queue_add(&transmit, &(struct buffer){memory_address(&memory, frame), header + FRAME, false}, 1);
        }
        queue_publish(&transmit);
        device_notify(&device, &transmit);

        for (uint64_t back = 0; back < burst;) {
            uint32_t written;
            int head = queue_take(&receive, &written);
            if (head < 0) continue;
            const uint8_t *frame = buffers + BUFFER * head;
            uint64_t number;
            memcpy(&number, frame + header + 14, 8);
            if (written != header + FRAME || number != done + back) {
                fail("frame %" PRIu64 ": %u bytes and number %" PRIu64 " came back", done + back, written, number);
            }
            // The descriptor that was freed last is the next that is used: this one, with the same buffer.
            queue_add(&receive, &(struct buffer){memory_address(&memory, frame), BUFFER, true}, 1);
            back++;
        }
        queue_publish(&receive);
        device_notify(&device, &receive);
        // The transmitted buffers, which may be used again.
        for (uint64_t back = 0; back < burst;) {
            uint32_t written;
            if (queue_take(&transmit, &written) >= 0) back++;
        }
        done += burst;
    }
    device_close(&device);
    printf("%" PRIu64 " frames sent, %" PRIu64 " received\n", done, done);
    return 0;
}
