import Debugging
import Simulation
import Testing

/// Packets that no debugger sends.
@Suite struct FuzzTests {
    static let seeds = [
        "?", "g", "G00", "p20", "P20=00000080", "m80000000,40", "M80002000,4:01020304", "X80002000,1:a", "Z0,80000010,4", "z0,80000010,4",
        "Z1,0,2", "Z2,80001000,4", "Z4,ffffffff,ffffffff", "Z3,0,0", "z4,10020000,4", "Hg1", "Hc-1", "T1", "c", "s", "C05", "S05;80000008",
        "vCont?", "vCont;c", "vCont;s:1;c", "vCont;r80000008,80000018:1", "vCont;C05:2", "qSupported:x", "qAttached", "qC", "qfThreadInfo",
        "qThreadExtraInfo,1", "qXfer:features:read:target.xml:0,ffff", "qXfer:memory-map:read::0,fff", "qXfer:threads:read::0,fff",
        "qRcmd,72656773", "qRcmd,7265677320574454", "qRcmd,74696d65", "qRcmd,7265736574", "vKill;1", "bs", "bc", "QStartNoAckMode",
    ]

    @Test func everyPacketIsAnswered() throws {
        var random = SplitMix64(seed: 0x6764_6202)
        let rig = try Rig()
        for round in 0..<4000 {
            var packet = Array(Self.seeds[random.below(Self.seeds.count)].utf8)
            for _ in 0..<random.below(4) { Self.damage(&packet, &random) }
            // These end the session, as they should.
            if packet.first == UInt8(ascii: "D") || packet.first == UInt8(ascii: "k") { continue }
            rig.session.receive(encodePacket(packet))
            if rig.target.stop == nil {
                rig.machine.advance(by: 50)
                rig.session.receive([3])
            }
            rig.session.reportStop()
            let answer = rig.received()
            #expect(!answer.isEmpty, "seed 0x67646202, round \(round): no answer to \(String(decoding: packet, as: UTF8.self))")
            #expect(rig.target.stop != nil && !rig.session.isOver)
        }
        rig.target.detach()
        let now = rig.machine.now
        rig.machine.advance(by: 1000)
        #expect(rig.machine.now == now + 1000)
    }

    private static func damage(_ packet: inout [UInt8], _ random: inout SplitMix64) {
        let place = random.below(packet.count + 1)
        switch random.below(5) {
        case 0: packet.insert(UInt8(truncatingIfNeeded: random.next()), at: place)
        case 1: packet.insert(contentsOf: Array(repeating: UInt8(ascii: "f"), count: random.below(20)), at: place)
        case 2: packet.removeSubrange(place...)
        case 3: packet.insert(Array(",;:=-0f".utf8)[random.below(7)], at: place)
        default: if place < packet.count { packet[place] = UInt8(truncatingIfNeeded: random.next()) }
        }
    }
}
