import Registers
import Simulation
import Testing

/// Random accesses to registers of random fields, against the pure next-value functions field by field.
@Suite struct RandomAccessTests {
    struct Field {
        var description: FieldDescription
        var value: UInt64
        var spent: UInt64 = 0
    }

    static func randomFields(_ random: inout SplitMix64, width: Int) -> [FieldDescription] {
        var fields: [FieldDescription] = []
        var lsb = Int.random(in: 0...3, using: &random)
        while lsb < width {
            let size = min(Int.random(in: 1...12, using: &random), width - lsb)
            let software = SoftwareAccess.allCases.randomElement(using: &random)!
            let onWrite = software.canWrite ? ([nil] + OnWrite.allCases).randomElement(using: &random)! : nil
            let onRead = software.canRead ? ([nil, nil] + OnRead.allCases).randomElement(using: &random)! : nil
            fields.append(FieldDescription(
                name: "f\(lsb)", lsb: lsb, width: size, software: software, hardware: .r, onRead: onRead, onWrite: onWrite,
                reset: UInt64.random(in: 0...(.max), using: &random) >> UInt64(64 - size)))
            lsb += size + Int.random(in: 0...2, using: &random)
        }
        return fields
    }

    @Test(arguments: 1...40 as ClosedRange<UInt64>) func accessesAgreeWithThePureFunctions(_ seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let width = [8, 16, 32, 64].randomElement(using: &random)!
        let fields = Self.randomFields(&random, width: width)
        let map = RegisterMap(name: "RANDOM", size: 16, doc: "", registers: [RegisterDescription(
            name: "R", path: [.init(name: "R", dimensions: 0)], offset: 8, width: width, accessWidth: 8, dimensions: [],
            buffersReads: false, buffersWrites: false, latency: 0, excludedFromTests: false, doc: "", fields: fields)], windows: [])
        let device = Plain(map)
        var reference = fields.map { Field(description: $0, value: $0.reset ?? 0) }
        let readable = fields.contains { $0.software.canRead }
        let writable = fields.contains { $0.software.canWrite }

        for step in 0..<2000 {
            let size = [1, 2, 4, 8].filter { $0 * 8 <= width }.randomElement(using: &random)!
            let lane = Int.random(in: 0..<width / 8 / size, using: &random) * size
            let lanes = (UInt64.max >> UInt64(64 - size * 8)) << UInt64(lane * 8)
            let place = "seed \(seed), step \(step)"
            if Bool.random(using: &random) {
                let data = [0, .max, random.next()].randomElement(using: &random)!
                var access = BusAccess(write: data, to: UInt64(8 + lane), size: size, initiator: .debugger)
                #expect(device.block.access(&access, model: device) == (writable ? .ok : .readOnly), "\(place)")
                for number in reference.indices { reference[number].write(data << UInt64(lane * 8) & lanes, lanes) }
            } else {
                var access = BusAccess(read: UInt64(8 + lane), size: size, initiator: .debugger)
                let status = device.block.access(&access, model: device)
                #expect(status == (readable ? .ok : .writeOnly), "\(place)")
                guard status == .ok else { continue }
                var expected: UInt64 = 0
                for number in reference.indices { expected |= reference[number].read(lanes) }
                #expect(access.value == (expected & lanes) >> UInt64(lane * 8), "\(place)")
            }
            let stored = reference.reduce(0 as UInt64) { $0 | $1.value << UInt64($1.description.lsb) }
            guard device.block.value(of: .init(rawValue: 0)) == stored else {
                Issue.record("\(place): stored \(device.block.value(of: .init(rawValue: 0))), expected \(stored)")
                return
            }
        }
    }

    final class Plain: RegisterModel {
        let block: RegisterBlock
        init(_ map: RegisterMap) { block = RegisterBlock(map) }
    }
}

extension RandomAccessTests.Field {
    mutating func write(_ data: UInt64, _ lanes: UInt64) {
        guard description.software.canWrite else { return }
        let shift = UInt64(description.lsb)
        var strobe = (lanes & description.mask) >> shift
        if description.software.isWriteOnce {
            strobe &= ~spent
            spent |= strobe
        }
        // Whole-field actions reach the bits of the access words that are written, and here an access word is a byte.
        let next = NextValue.write(value, data: data >> shift, strobe: strobe, width: description.width, description.onWrite)
        switch description.onWrite {
        case .wclr, .wset: value = (value & ~strobe) | (next & strobe)
        default: value = next
        }
    }

    mutating func read(_ lanes: UInt64) -> UInt64 {
        guard description.software.canRead else { return 0 }
        let shown = value
        let reached = (lanes & description.mask) >> UInt64(description.lsb)
        value = (value & ~reached) | (NextValue.read(value, width: description.width, description.onRead) & reached)
        return shown << UInt64(description.lsb)
    }
}
