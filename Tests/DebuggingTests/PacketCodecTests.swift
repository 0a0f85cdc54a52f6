import Debugging
import Simulation
import Testing

/// The framing of packets, also when what arrives is none.
@Suite struct PacketCodecTests {
    static func events(_ bytes: some Sequence<UInt8>, limit: Int = 64) -> [PacketDecoder.Event] {
        var decoder = PacketDecoder(limit: limit)
        return bytes.compactMap { decoder.take($0) }
    }

    @Test func wholePackets() {
        #expect(encodePacket(Array("OK".utf8)) == Array("$OK#9a".utf8))
        #expect(Self.events("+$OK#9a-$#00\u{3}".utf8) == [.acknowledged, .packet(Array("OK".utf8)), .rejected, .packet([]), .interrupt])
        #expect(Self.events("$OK#9A".utf8) == [.packet(Array("OK".utf8))])
    }

    @Test func everyByteSurvives() {
        let all = Array(UInt8.min...UInt8.max)
        let packet = encodePacket(all)
        #expect(!packet.dropFirst().dropLast(3).contains(UInt8(ascii: "$")) && !packet.dropLast(3).contains(UInt8(ascii: "#")))
        #expect(Self.events(packet, limit: 256) == [.packet(all)])
    }

    @Test func damage() {
        #expect(Self.events("$OK#9b".utf8) == [.damaged])
        #expect(Self.events("$OK#9x$OK#9a".utf8) == [.damaged, .packet(Array("OK".utf8))])
        #expect(Self.events("$O$OK#9a".utf8) == [.damaged, .packet(Array("OK".utf8))], "a packet that lost its end")
        #expect(Self.events("OK#9a".utf8) == [], "bytes outside a packet")
    }

    @Test func length() {
        let longest = [UInt8](repeating: 97, count: 64)
        #expect(Self.events(encodePacket(longest)) == [.packet(longest)])
        #expect(Self.events(encodePacket(longest + [97]) + encodePacket([98])) == [.tooLong, .packet([98])])
    }

    /// Whatever came before: a packet that follows a finished one is understood.
    @Test func noise() {
        var random = SplitMix64(seed: 0x6764_6201)
        for round in 0..<500 {
            let noise = (0..<random.below(200)).map { _ in
                random.below(3) == 0 ? Array("$#+-}*\u{3}".utf8)[random.below(7)] : UInt8(truncatingIfNeeded: random.next())
            }
            let payload = (0..<random.below(40)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            let events = Self.events(noise + Array("#00#00".utf8) + encodePacket(payload))
            #expect(events.last == .packet(payload), "seed 0x67646201, round \(round)")
        }
    }
}

extension SplitMix64 {
    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}
