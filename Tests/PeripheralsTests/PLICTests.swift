import Peripherals
import RegisterMaps
import Simulation
import Testing

/// The PLIC as its specification words it, one source at a time: the reference for random sequences.
private struct ReferencePLIC {
    var lines = Set<Int>()
    var pending = Set<Int>()
    var busy = Set<Int>()
    var priority = [Int](repeating: 0, count: 32)
    var enabled = [Set<Int>](repeating: [], count: 2)
    var threshold = [0, 0]

    mutating func gateways() {
        for source in lines where !busy.contains(source) {
            busy.insert(source)
            pending.insert(source)
        }
    }

    func best(_ context: Int) -> Int {
        let candidates = pending.intersection(enabled[context]).filter { priority[$0] > 0 }
        return candidates.max { (priority[$0], -$0) < (priority[$1], -$1) } ?? 0
    }

    func interrupts(_ context: Int) -> Bool {
        pending.intersection(enabled[context]).contains { priority[$0] > threshold[context] }
    }

    mutating func claim(_ context: Int) -> Int {
        let source = best(context)
        pending.remove(source)
        gateways()
        return source
    }

    mutating func complete(_ source: Int, _ context: Int) {
        if enabled[context].contains(source), !pending.contains(source) { busy.remove(source) }
        gateways()
    }
}

@Suite struct PLICTests {
    private let plic = PlatformInterruptController()
    private let probe: RegisterProbe

    init() {
        probe = RegisterProbe(target: plic, map: PLIC.map, scheduler: Scheduler())
    }

    @Test func theLayoutIsTheSpecifications() {
        #expect(probe.address(PLIC.PRIORITY, 0) == 4)
        #expect(probe.address(PLIC.PENDING) == 0x1000)
        #expect(probe.address(PLIC.ENABLE, 1) == 0x2080)
        #expect(probe.address(PLIC.CONTEXT_THRESHOLD, 1) == 0x20_1000)
        #expect(probe.address(PLIC.CONTEXT_CLAIM, 1) == 0x20_1004)
    }

    @Test func aSourcePendsIsClaimedAndCompletes() {
        probe.write(PLIC.PRIORITY, 2, 5)
        probe.write(PLIC.ENABLE, 0, 1 << 3)
        plic.wireChanged(3, level: true)
        #expect(plic.interrupts[0].level && !plic.interrupts[1].level)
        #expect(probe.read(PLIC.PENDING) == 1 << 3)
        #expect(probe.read(PLIC.CONTEXT_CLAIM, 1) == 0)
        #expect(probe.read(PLIC.CONTEXT_CLAIM, 0) == 3)
        #expect(!plic.interrupts[0].level)
        #expect(probe.read(PLIC.CONTEXT_CLAIM, 0) == 0)
        // Its line is still high: it pends again when it is completed.
        probe.write(PLIC.CONTEXT_CLAIM, 0, 3)
        #expect(plic.interrupts[0].level)
        #expect(probe.read(PLIC.CONTEXT_CLAIM, 0) == 3)
        plic.wireChanged(3, level: false)
        probe.write(PLIC.CONTEXT_CLAIM, 0, 3)
        #expect(!plic.interrupts[0].level && probe.read(PLIC.PENDING) == 0)
    }

    @Test(arguments: 1...10 as ClosedRange<UInt64>)
    func itBehavesAsTheReference(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var reference = ReferencePLIC()
        for step in 0..<2000 {
            let context = Int.random(in: 0...1, using: &random)
            let source = Int.random(in: 1...31, using: &random)
            switch Int.random(in: 0..<7, using: &random) {
            case 0, 1:
                let level = Bool.random(using: &random)
                plic.wireChanged(source, level: level)
                if level { reference.lines.insert(source) } else { reference.lines.remove(source) }
                reference.gateways()
            case 2:
                let priority = Int.random(in: 0...7, using: &random)
                probe.write(PLIC.PRIORITY, source - 1, UInt64(priority))
                reference.priority[source] = priority
            case 3:
                let mask = UInt64(UInt32.random(in: 0...UInt32.max, using: &random)) & ~1
                probe.write(PLIC.ENABLE, context, mask)
                reference.enabled[context] = Set((1...31).filter { mask >> UInt64($0) & 1 != 0 })
            case 4:
                let threshold = Int.random(in: 0...7, using: &random)
                probe.write(PLIC.CONTEXT_THRESHOLD, context, UInt64(threshold))
                reference.threshold[context] = threshold
            case 5:
                #expect(probe.read(PLIC.CONTEXT_CLAIM, context) == UInt64(reference.claim(context)), "seed \(seed), step \(step)")
            default:
                probe.write(PLIC.CONTEXT_CLAIM, context, UInt64(source))
                reference.complete(source, context)
            }
            #expect(probe.read(PLIC.PENDING) == reference.pending.reduce(0) { $0 | 1 << UInt64($1) }, "seed \(seed), step \(step)")
            for context in 0...1 {
                #expect(plic.interrupts[context].level == reference.interrupts(context), "seed \(seed), step \(step), context \(context)")
            }
        }
    }
}
