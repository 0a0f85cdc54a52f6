import Registers
import Simulation

/// The control queue, section 5.1.6.5: commands of a class and a number, answered by one byte.
extension NetworkDevice {
    private enum CommandClass {
        static let receive: UInt8 = 0
        static let mac: UInt8 = 1
        static let vlan: UInt8 = 2
        static let announce: UInt8 = 3
        static let multiQueue: UInt8 = 4
        static let coalescing: UInt8 = 6
    }

    /// Bytes of a command at most: the two address tables at their limit, twice over.
    private static let commandBytes = 4096
    private static let segments = 32

    /// Performs what the driver has made available. Commands are few and take no time.
    func serveControl(_ queues: inout QueueSet) {
        let queue = state.features.contains(.networkMultiQueue) ? 2 * configuration.queuePairs : 2
        withUnsafeTemporaryAllocation(of: Segment.self, capacity: Self.segments) { segments in
            repeat {
                while let chain = queues.take(queue, from: memory, into: segments) {
                    guard chain.readableBytes >= 2, chain.writableBytes >= 1 else {
                        return queues.fail(queue, .requestTooShort(
                            head: chain.head, readable: chain.readableBytes, writable: chain.writableBytes))
                    }
                    guard answer(chain, segments, queue, &queues) else { return }
                }
            } while queues.enableNotifications(queue, in: memory)
        }
    }

    private func answer(
        _ chain: DescriptorChain, _ segments: UnsafeMutableBufferPointer<Segment>, _ queue: Int, _ queues: inout QueueSet
    ) -> Bool {
        let count = Int(min(chain.readableBytes, UInt64(Self.commandBytes)))
        let isOK: Bool? = withUnsafeTemporaryAllocation(byteCount: Self.commandBytes, alignment: 8) { buffer in
            var done = 0
            for index in 0..<Int(chain.readableSegments) where done < count {
                let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[done..<min(done + Int(segments[index].length), count)])
                guard memory.read(segments[index].address, into: piece) == .ok else {
                    queues.fail(queue, .bufferUnreachable(
                        descriptor: chain.head, address: segments[index].address, length: segments[index].length, isWrite: false))
                    return nil
                }
                done += piece.count
            }
            let command = UnsafeRawBufferPointer(rebasing: buffer[..<count])
            return chain.readableBytes == UInt64(count)
                && perform(command[0], command[1], UnsafeRawBufferPointer(rebasing: command[2...]))
        }
        // The driver hears at once of what has waited for an interrupt: the command may have changed the rule.
        for held in state.held.indices where state.held[held].packets > 0 { release(held, &queues) }
        guard let isOK else { return false }
        state.counters.controlCommands &+= 1
        if !isOK { state.counters.controlErrors &+= 1 }
        // VIRTIO_NET_OK and VIRTIO_NET_ERR.
        let status: UInt8 = isOK ? 0 : 1
        let place = segments[Int(chain.readableSegments)].address
        guard memory.store(status, to: place) else {
            queues.fail(queue, .bufferUnreachable(descriptor: chain.head, address: place, length: 1, isWrite: true))
            return false
        }
        return queues.put(queue, chain, written: 1, in: memory)
    }

    /// Whether a command was understood and done.
    private func perform(_ commandClass: UInt8, _ command: UInt8, _ data: UnsafeRawBufferPointer) -> Bool {
        switch commandClass {
        case CommandClass.receive: setReceiveMode(command, data)
        case CommandClass.mac where command == 0: setTables(data)
        case CommandClass.mac where command == 1: setAddress(data)
        case CommandClass.vlan: setVLAN(command, data)
        case CommandClass.announce where command == 0: acknowledgeAnnouncement(data)
        case CommandClass.multiQueue where command == 0: setPairs(data)
        case CommandClass.coalescing: setCoalescing(command, data)
        default: false
        }
    }

    private func setReceiveMode(_ command: UInt8, _ data: UnsafeRawBufferPointer) -> Bool {
        guard data.count == 1, data[0] <= 1, state.features.contains(.networkControlReceive) else { return false }
        guard command < 2 || state.features.contains(.networkControlReceiveExtra) else { return false }
        let isOn = data[0] == 1
        switch command {
        case 0: state.filter.isPromiscuous = isOn
        case 1: state.filter.allMulticast = isOn
        case 2: state.filter.allUnicast = isOn
        case 3: state.filter.noMulticast = isOn
        case 4: state.filter.noUnicast = isOn
        case 5: state.filter.noBroadcast = isOn
        default: return false
        }
        return true
    }

    /// `struct virtio_net_ctrl_mac` twice: unicast, then multicast addresses, each with their number in front.
    private func setTables(_ data: UnsafeRawBufferPointer) -> Bool {
        guard state.features.contains(.networkControlReceive) else { return false }
        var offset = 0
        var tables: [[MACAddress]] = []
        for _ in 0..<2 {
            guard let count = number(data, offset, 4), count <= (data.count - offset - 4) / 6 else { return false }
            let start = offset + 4
            tables.append((0..<count).map { MACAddress(data, at: start + 6 * $0) })
            offset = start + 6 * count
        }
        guard offset == data.count else { return false }
        state.filter.setTables(unicast: tables[0], multicast: tables[1])
        return true
    }

    private func setAddress(_ data: UnsafeRawBufferPointer) -> Bool {
        guard data.count == 6, state.features.contains(.networkControlMAC) else { return false }
        state.space.mac = MACAddress(data, at: 0)
        return true
    }

    private func setVLAN(_ command: UInt8, _ data: UnsafeRawBufferPointer) -> Bool {
        guard data.count == 2, command <= 1, state.features.contains(.networkControlVLAN), let vlan = number(data, 0, 2), vlan < 4096 else {
            return false
        }
        state.filter.setVLAN(UInt16(vlan), passes: command == 0)
        return true
    }

    private func acknowledgeAnnouncement(_ data: UnsafeRawBufferPointer) -> Bool {
        guard data.isEmpty, state.features.contains(.networkAnnounce) else { return false }
        state.space.announces = false
        return true
    }

    private func setPairs(_ data: UnsafeRawBufferPointer) -> Bool {
        guard data.count == 2, state.features.contains(.networkMultiQueue), let pairs = number(data, 0, 2),
            (1...configuration.queuePairs).contains(pairs)
        else { return false }
        state.activePairs = pairs
        return true
    }

    /// TX_SET and RX_SET: frames, then microseconds.
    private func setCoalescing(_ command: UInt8, _ data: UnsafeRawBufferPointer) -> Bool {
        guard data.count == 8, command <= 1, state.features.contains(.networkCoalescing), let packets = number(data, 0, 4),
            let microseconds = number(data, 4, 4)
        else { return false }
        let rule = Coalescing(packets: UInt32(packets), microseconds: UInt32(microseconds))
        if command == 0 { state.transmitCoalescing = rule } else { state.receiveCoalescing = rule }
        return true
    }

    /// A little-endian number; nil if the data ends before it does.
    private func number(_ data: UnsafeRawBufferPointer, _ offset: Int, _ size: Int) -> Int? {
        guard offset + size <= data.count else { return nil }
        return (0..<size).reduce(0) { $0 | Int(data[offset + $1]) << (8 * $1) }
    }
}
