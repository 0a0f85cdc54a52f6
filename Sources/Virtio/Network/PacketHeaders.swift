/// What the device reads of frames beyond their addresses: flows for steering, and internet checksums.
enum PacketHeaders {
    /// A number that is the same for both directions of a flow: of IPv4 and IPv6, by addresses and TCP or UDP ports; of anything else by
    /// the Ethernet addresses.
    static func flow(_ frame: UnsafeRawBufferPointer) -> UInt32 {
        var hash: UInt32 = 0
        var offset = 12
        if word(frame, 12) == 0x8100 { offset = 16 }
        switch word(frame, offset) {
        case 0x0800 where frame.count >= offset + 22:
            let header = offset + 2
            hash = sum(frame, header + 12, 4) &+ sum(frame, header + 16, 4)
            let length = Int(frame[header] & 0xf) * 4
            // Only the first fragment of a packet has ports, and all have to go the same way.
            let isFragment = word(frame, header + 6) & 0x3fff != 0
            if !isFragment, length >= 20 { hash &+= ports(frame, header + length, frame[header + 9]) }
        case 0x86dd where frame.count >= offset + 42:
            let header = offset + 2
            hash = sum(frame, header + 8, 16) &+ sum(frame, header + 24, 16) &+ ports(frame, header + 40, frame[header + 6])
        default:
            hash = sum(frame, 0, 6) &+ sum(frame, 6, 6)
        }
        // The finalizer of MurmurHash3, so that near sums come far apart.
        hash = (hash ^ hash >> 16) &* 0x85eb_ca6b
        hash = (hash ^ hash >> 13) &* 0xc2b2_ae35
        return hash ^ hash >> 16
    }

    private static func ports(_ frame: UnsafeRawBufferPointer, _ offset: Int, _ protocolNumber: UInt8) -> UInt32 {
        guard protocolNumber == 6 || protocolNumber == 17, offset + 4 <= frame.count else { return UInt32(protocolNumber) }
        return sum(frame, offset, 2) &+ sum(frame, offset + 2, 2) &+ UInt32(protocolNumber)
    }

    /// The bytes as a number, reduced to 32 bits in a way that their order matters.
    private static func sum(_ frame: UnsafeRawBufferPointer, _ offset: Int, _ count: Int) -> UInt32 {
        var value: UInt32 = 0
        for index in offset..<offset + count { value = value &* 0x0100_0193 ^ UInt32(frame[index]) }
        // Spread before the two directions are added, so that a.b + c.d differs from a.d + c.b.
        return (value ^ value >> 15) &* 0x2c1b_3c6d
    }

    private static func word(_ frame: UnsafeRawBufferPointer, _ offset: Int) -> UInt16 {
        offset + 2 <= frame.count ? UInt16(frame[offset]) << 8 | UInt16(frame[offset + 1]) : 0
    }

    /// Completes a checksum (section 5.1.6.2): the ones' complement sum from `start` to the end of the frame, which includes what the
    /// driver put at `start + offset`, goes there. False if that is outside the frame.
    static func completeChecksum(_ frame: UnsafeMutableRawBufferPointer, start: Int, offset: Int) -> Bool {
        guard start <= frame.count, start + offset + 2 <= frame.count else { return false }
        var sum: UInt32 = 0
        var place = start
        while place + 1 < frame.count {
            // At most 9018 bytes, so that the sum cannot overflow.
            sum &+= UInt32(frame[place]) << 8 | UInt32(frame[place + 1])
            place += 2
        }
        if place < frame.count { sum &+= UInt32(frame[place]) << 8 }
        while sum >> 16 != 0 { sum = (sum & 0xffff) &+ sum >> 16 }
        var checksum = ~UInt16(truncatingIfNeeded: sum)
        // RFC 768: UDP's zero means that there is none, and both mean the same to the receiver's sum.
        if checksum == 0 { checksum = 0xffff }
        frame[start + offset] = UInt8(truncatingIfNeeded: checksum >> 8)
        frame[start + offset + 1] = UInt8(truncatingIfNeeded: checksum)
        return true
    }
}
