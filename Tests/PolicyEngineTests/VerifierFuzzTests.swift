import AdminProtocol
import PolicyEngine
import Simulation
import Testing

/// Random programs. Whatever the verifier accepts runs to its end without leaving its places.
@Suite struct VerifierFuzzTests {
    typealias I = Instruction

    /// Instructions that are often right, so that many programs pass; one in a few programs is damaged afterwards.
    static func program(_ random: inout SplitMix64) -> [Instruction] {
        let count = Int.random(in: 1...24, using: &random)
        var code: [Instruction] = []
        // Registers that certainly hold numbers, and addresses, if all that came before was executed.
        while code.count < count {
            let left = count - code.count
            let register = Int.random(in: 4...7, using: &random), other = Int.random(in: 0...10, using: &random)
            let group = Bool.random(using: &random) ? I.Class.arithmetic : I.Class.arithmetic32
            let small = Int32.random(in: -4...70, using: &random)
            switch Int.random(in: 0..<14, using: &random) {
            case 0: code.append(.move(register, Int32(truncatingIfNeeded: random.next())))
            case 1: code += I.wide(register, random.next())
            case 2: code.append(.load(register, from: Int.random(in: 1...3, using: &random), Int16(small), bytes: 1 << (small & 3)))
            case 3: code.append(.operation(I.A.and, register, Int32.random(in: 0...63, using: &random), class: group))
            case 4: code.append(.operation(UInt8.random(in: 0...13, using: &random) << 4, register, small, class: group))
            case 5: code.append(.operation(UInt8.random(in: 0...12, using: &random) << 4, register, register: other, class: group))
            case 6:
                let base = Int.random(in: 1...3, using: &random)
                code += [.move(register, register: base), .operation(I.A.add, register, register: Int.random(in: 4...7, using: &random))]
            case 7: code.append(.load(Int.random(in: 4...7, using: &random), from: register, Int16(small), bytes: 1 << (small & 3)))
            case 8: code.append(.store(other, to: register, Int16(small), bytes: 1 << (small & 3)))
            case 9: code.append(.store(register, to: 10, -8 * Int16.random(in: 1...4, using: &random), bytes: 8))
            case 10: code.append(.load(register, from: 10, -8 * Int16.random(in: 1...4, using: &random), bytes: 8))
            case 11:
                let distance = Int16.random(in: 0...Int16(left), using: &random)
                code.append(.jump(UInt8.random(in: 1...13, using: &random) << 4, register, small, by: distance))
            case 12:
                code.append(.operation(
                    UInt8.random(in: 1...13, using: &random) << 4, register, register: other, class: I.Class.jump + UInt8(small & 1),
                    offset: Int16.random(in: 0...3, using: &random)))
            default: code.append(.store(constant: small, to: Int.random(in: 1...3, using: &random), Int16(small), bytes: 1 << (small & 3)))
            }
        }
        // The registers begin with something, more often than not.
        let first = (4...7).flatMap { Bool.random(using: &random) ? [I.load($0, from: 1, 4 * Int16($0))] : [.move($0, 3)] }
        var all = first + code + [.move(0, 0), .exit]
        if random.next() % 4 == 0 {
            let place = Int(random.next() % UInt64(all.count))
            all[place].opcode ^= 1 << UInt8(random.next() % 8)
            all[place].registers ^= UInt8(truncatingIfNeeded: random.next() & random.next() & random.next())
        }
        return all
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>) func whatIsAcceptedStaysInItsBounds(seed: UInt64) {
        let laboratory = Laboratory()
        var random = SplitMix64(seed: seed)
        var accepted = 0
        for number in 0..<25_000 {
            let program = Self.program(&random)
            guard laboratory.verify(program) == nil else { continue }
            accepted += 1
            for _ in 0..<3 {
                for word in 0..<PolicyContext.wordCount { laboratory.context[word] = UInt32(truncatingIfNeeded: random.next()) }
                let fault = laboratory.run(program, budget: UInt32(program.count))
                guard fault == .none || fault == .gaveUp else {
                    Issue.record("seed \(seed), program \(number): \(fault) at \(laboratory.place) of \(program)")
                    return
                }
            }
        }
        print("seed \(seed): \(accepted) of 25000 programs accepted")
        #expect(accepted > 1000, "seed \(seed): too few to say anything")
    }

    /// Any bytes at all: the verifier ends, and what it accepts does no harm.
    @Test func noiseIsRefused() {
        let laboratory = Laboratory()
        var random = SplitMix64(seed: 9)
        for number in 0..<20_000 {
            let program = (0...Int.random(in: 0..<8, using: &random)).map { _ in
                Instruction(
                    opcode: UInt8(truncatingIfNeeded: random.next()), registers: UInt8(truncatingIfNeeded: random.next()),
                    offset: Int16(truncatingIfNeeded: random.next()), immediate: Int32(truncatingIfNeeded: random.next()))
            }
            let fault = laboratory.run(program, budget: 1000)
            guard laboratory.verify(program) == nil else { continue }
            #expect(fault == .none || fault == .gaveUp, "seed 9, program \(number): \(program)")
        }
    }
}
