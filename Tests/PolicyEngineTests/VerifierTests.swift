import AdminProtocol
import PolicyEngine
import Simulation
import Testing

/// Programs that may run, and programs that may not.
@Suite struct VerifierTests {
    let laboratory = Laboratory()

    typealias I = Instruction

    /// Offset of the first claim, and of the weight.
    static let claim = Int16(PolicyContext.Field.claim.rawValue * 4), weight = Int16(PolicyContext.Field.weight.rawValue * 4)

    /// A program that ends well, with `code` before its end.
    func program(_ code: [Instruction]) -> [Instruction] { code + [.move(0, 0), .exit] }

    func expect(
        _ reason: PolicyRefusal.Reason, at instruction: Int, expected: ClosedRange<Int64>? = nil, found: ClosedRange<Int64>? = nil,
        _ code: [Instruction], location: SourceLocation = #_sourceLocation
    ) {
        guard let refusal = laboratory.verify(code) else {
            Issue.record("accepted", sourceLocation: location)
            return
        }
        #expect(PolicyRefusal.Reason(rawValue: refusal.reason) == reason, sourceLocation: location)
        #expect(refusal.instruction == instruction, sourceLocation: location)
        if let expected {
            #expect(refusal.expectedLow == expected.lowerBound && refusal.expectedHigh == expected.upperBound, sourceLocation: location)
        }
        if let found {
            #expect(refusal.foundLow == found.lowerBound && refusal.foundHigh == found.upperBound, sourceLocation: location)
        }
    }

    func accept(_ code: [Instruction], location: SourceLocation = #_sourceLocation) {
        let refusal = laboratory.verify(code)
        #expect(refusal == nil, sourceLocation: location)
        #expect(laboratory.run(code) == .none, sourceLocation: location)
    }

    // MARK: Structure

    @Test func programsHaveAnEnd() {
        accept(program([]))
        expect(.length, at: 0, expected: 1...1024, found: 0...0, [])
        expect(.length, at: 0, expected: 1...1024, found: 1025...1025, [I](repeating: .move(0, 0), count: 1024) + [.exit])
        accept([I](repeating: .move(0, 0), count: 1023) + [.exit])
        expect(.end, at: 0, [.move(0, 0)])
        expect(.truncated, at: 1, [.move(0, 0), I.wide(1, 5)[0]])
        expect(.end, at: 1, [.move(0, 0)] + I.wide(1, 5))
        expect(.field, at: 1, [I.wide(1, 5)[0], .move(0, 0), .exit])
    }

    @Test func jumpsGoForwards() {
        accept(program([.move(1, 5), .jump(I.J.equal, 1, 5, by: 0)]))
        expect(.backwards, at: 1, expected: 2...3, found: 1...1, program([.move(1, 5), .jump(by: -1)]))
        expect(.backwards, at: 2, found: 1...1, program([.move(1, 5), .operation(I.A.subtract, 1, 1), .jump(I.J.notEqual, 1, 0, by: -2)]))
        expect(.target, at: 0, expected: 1...2, found: 3...3, program([.jump(I.J.equal, 1, 0, by: 2)]))
        expect(.target, at: 0, found: 32768...32768, program([.jump(by: .max)]))
        expect(.middle, at: 2, [.jump(I.J.equal, 4, 0, by: 1)] + I.wide(1, 7) + program([]))
        expect(.unreachable, at: 1, [.jump(by: 1), .move(0, 1)] + program([]))
        expect(.unreachable, at: 2, program([]) + program([]))
        accept(program([.operation(I.J.always, 0, 0, class: I.Class.jump32)]))
        expect(.backwards, at: 0, program([.operation(I.J.always, 0, -1, class: I.Class.jump32)]))
    }

    @Test func onlyInstructionsThatThereAre() {
        let wrong: [UInt8] = [0x00, 0x20, 0x30, 0x40, 0xe7, 0xf4, 0xe5, 0xf6, 0x0d, 0x9d, 0x96, 0xc3, 0xdb, 0x01, 0x99, 0x8f, 0xdf]
        for opcode in wrong {
            expect(.opcode, at: 0, found: Int64(opcode)...Int64(opcode), program([Instruction(opcode: opcode)]))
        }
        expect(.call, at: 0, found: 6...6, program([Instruction(opcode: 0x85, immediate: 6)]))
        expect(.register, at: 0, expected: 0...10, found: 11...11, program([.move(11, 0)]))
        expect(.register, at: 0, found: 15...15, program([.move(1, register: 15)]))
        expect(.frame, at: 0, program([.move(10, 0)]))
        expect(.frame, at: 0, program([.load(10, from: 1, 0)]))
        expect(.field, at: 0, program([.operation(I.A.add, 1, 1, offset: 1)]))
        expect(.field, at: 0, program([.operation(I.A.move, 1, register: 1, offset: 7)]))
        expect(.field, at: 0, program([.operation(I.A.move, 1, register: 1, class: I.Class.arithmetic32, offset: 32)]))
        expect(.field, at: 0, program([.operation(I.A.swap, 1, 24)]))
        expect(.field, at: 0, program([Instruction(opcode: 0x95, immediate: 1)]))
    }

    // MARK: Registers

    @Test func registersAreSetBeforeTheyAreRead() {
        expect(.unset, at: 0, found: 4...4, program([.operation(I.A.add, 4, 1)]))
        expect(.unset, at: 0, found: 5...5, program([.move(4, register: 5)]))
        expect(.unset, at: 0, found: 0...0, [.exit])
        expect(.unset, at: 0, found: 6...6, program([.jump(I.J.equal, 6, 0, by: 0)]))
        // On one of two ways only.
        expect(.unset, at: 4, found: 4...4, program([
            .load(5, from: 1, 0), .jump(I.J.equal, 5, 0, by: 1), .move(4, 1), .move(6, 1), .operation(I.A.add, 6, register: 4),
        ]))
        expect(.number, at: 1, found: 0...0, [.move(0, register: 1), .exit])
    }

    @Test func addressesAreNoNumbers() {
        expect(.number, at: 0, program([.operation(I.A.multiply, 1, 2)]))
        expect(.number, at: 0, program([.operation(I.A.add, 1, register: 2)]))
        expect(.number, at: 0, program([.operation(I.A.add, 1, 4, class: I.Class.arithmetic32)]))
        expect(.number, at: 0, found: 1...1, program([.jump(I.J.equal, 1, 0, by: 0)]))
        expect(.number, at: 0, found: 1...1, program([.store(1, to: 2, 0, bytes: 8)]))
        expect(.address, at: 1, found: 4...4, program([.move(4, 4096), .load(5, from: 4, 0)]))
        // A part of an address that was stored.
        expect(.unset, at: 1, program([.store(1, to: 10, -8, bytes: 8), .load(4, from: 10, -8, bytes: 4)]))
        // Different places on two ways.
        expect(.unset, at: 4, program([
            .load(5, from: 1, 0), .move(4, register: 2), .jump(I.J.equal, 5, 0, by: 1), .move(4, register: 3), .load(0, from: 4, 0),
        ]))
    }

    // MARK: Bounds

    @Test func accessesStayInTheirPlaces() {
        accept(program([.load(4, from: 1, 252), .load(4, from: 1, 248, bytes: 8), .load(4, from: 2, 60), .load(4, from: 3, 63, bytes: 1)]))
        expect(.bounds, at: 0, expected: 0...252, found: 256...256, program([.load(4, from: 1, 256)]))
        expect(.bounds, at: 0, expected: 0...248, found: 252...252, program([.load(4, from: 1, 252, bytes: 8)]))
        expect(.bounds, at: 0, expected: 0...252, found: -4 ... -4, program([.load(4, from: 1, -4)]))
        expect(.bounds, at: 0, expected: 0...60, found: 64...64, program([.load(4, from: 2, 64)]))
        accept(program([.store(constant: 1, to: 1, Self.claim), .store(constant: 1, to: 1, Self.weight)]))
        expect(.bounds, at: 0, expected: 208...228, found: 204...204, program([.store(constant: 1, to: 1, Self.claim - 4)]))
        expect(.bounds, at: 0, expected: 208...228, found: 232...232, program([.store(constant: 1, to: 1, Self.weight + 4)]))
        expect(.bounds, at: 0, found: -4 ... -4, program([.store(constant: 1, to: 3, -4)]))
        expect(.bounds, at: 0, expected: 0...504, found: 512...512, program([.load(4, from: 10, 0, bytes: 8)]))
        expect(.bounds, at: 0, found: -8 ... -8, program([.load(4, from: 10, -520, bytes: 8)]))
    }

    @Test func offsetsThatAreComputedAreFollowed() {
        // own[context.owner & 15]
        accept(program([
            .load(4, from: 1, 8), .operation(I.A.and, 4, 15), .operation(I.A.shiftLeft, 4, 2), .operation(I.A.add, 2, register: 4),
            .load(5, from: 2, 0), .store(5, to: 2, 0),
        ]))
        expect(.bounds, at: 4, expected: 0...60, found: 0...64, program([
            .load(4, from: 1, 8), .operation(I.A.and, 4, 16), .operation(I.A.shiftLeft, 4, 2), .operation(I.A.add, 2, register: 4),
            .load(5, from: 2, 0),
        ]))
        // if (i < 16) own[i]
        accept(program([
            .load(4, from: 1, 8), .jump(I.J.greater, 4, 15, by: 3), .operation(I.A.shiftLeft, 4, 2),
            .operation(I.A.add, 2, register: 4), .load(5, from: 2, 0),
        ]))
        expect(.bounds, at: 4, found: 0...64, program([
            .load(4, from: 1, 8), .jump(I.J.greater, 4, 16, by: 3), .operation(I.A.shiftLeft, 4, 2),
            .operation(I.A.add, 2, register: 4), .load(5, from: 2, 0),
        ]))
        // The copy of a number that was compared.
        accept(program([
            .load(4, from: 1, 8), .move(5, register: 4), .jump(I.J.greater, 5, 15, by: 3), .operation(I.A.shiftLeft, 4, 2),
            .operation(I.A.add, 2, register: 4), .load(5, from: 2, 0),
        ]))
        // A number that may be anything.
        expect(.distance, at: 1, program([.load(4, from: 1, 0, bytes: 8), .operation(I.A.add, 2, register: 4)]))
        // A signed comparison says nothing of numbers that may be negative.
        expect(.distance, at: 2, program([
            .load(4, from: 1, 0, bytes: 8), .jump(I.J.greaterSigned, 4, 15, by: 1), .operation(I.A.add, 2, register: 4),
        ]))
        expect(.distance, at: 1, found: 0x7fff_ffff...0x7fff_ffff, program([
            .move(4, 0x7fff_ffff), .operation(I.A.subtract, 2, register: 4),
        ]))
        // There and back.
        accept(program([.operation(I.A.add, 2, 1000), .operation(I.A.subtract, 2, 996), .load(4, from: 2, 0)]))
    }

    @Test func theStackKeepsWhatWasStored() {
        expect(.unset, at: 0, found: 10...10, program([.load(4, from: 10, -8, bytes: 8)]))
        expect(.unset, at: 1, program([.store(constant: 1, to: 10, -8), .load(4, from: 10, -8, bytes: 8)]))
        accept(program([.store(constant: 1, to: 10, -8), .store(constant: 1, to: 10, -4), .load(4, from: 10, -8, bytes: 8)]))
        accept(program([.store(1, to: 10, -16, bytes: 8), .load(4, from: 10, -16, bytes: 8), .load(5, from: 4, 0)]))
        expect(.unset, at: 3, program([
            .store(1, to: 10, -16, bytes: 8), .store(constant: 0, to: 10, -16, bytes: 1), .store(constant: 0, to: 10, -24, bytes: 8),
            .load(4, from: 10, -16, bytes: 8),
        ]))
        expect(.stackOffset, at: 4, program([
            .load(4, from: 1, 8), .operation(I.A.and, 4, 7), .move(5, register: 10), .operation(I.A.subtract, 5, register: 4),
            .store(constant: 0, to: 5, -16, bytes: 1),
        ]))
    }

    // MARK: Results

    /// What programs compute (RFC 9669, 4).
    @Test(arguments: [
        ([.move(4, -1), .operation(I.A.shiftRight, 4, 60)], 15),
        ([.move(4, -16), .operation(I.A.shiftRightSigned, 4, 2)], UInt64(bitPattern: -4)),
        ([.move(4, -1), .operation(I.A.add, 4, 1, class: I.Class.arithmetic32)], 0),
        ([.operation(I.A.move, 4, -1, class: I.Class.arithmetic32)], 0xffff_ffff),
        ([.move(4, 7), .operation(I.A.divide, 4, 0)], 0),
        ([.move(4, 7), .operation(I.A.modulo, 4, 0)], 7),
        ([.move(4, -7), .operation(I.A.divide, 4, 2, offset: 1)], UInt64(bitPattern: -3)),
        ([.move(4, -7), .operation(I.A.modulo, 4, 2, offset: 1)], UInt64(bitPattern: -1)),
        ([.move(4, -7), .operation(I.A.modulo, 4, 2, class: I.Class.arithmetic32, offset: 1)], 0xffff_ffff),
        (I.wide(4, 1 << 63) + [.operation(I.A.divide, 4, -1, offset: 1)], 1 << 63),
        (I.wide(4, 0x1122_3344_5566_7788) + [.operation(I.A.swap, 4, 32)], 0x8877_6655),
        (I.wide(4, 0x1122_3344_5566_7788) + [.operation(I.A.swap, 4, 16, class: I.Class.arithmetic32)], 0x7788),
        ([.move(5, 0xfe), .operation(I.A.move, 4, register: 5, offset: 8)], UInt64(bitPattern: -2)),
        ([.move(5, 0xfe), .operation(I.A.move, 4, register: 5, class: I.Class.arithmetic32, offset: 8)], 0xffff_fffe),
        ([.move(4, 5), .operation(I.A.negate, 4, 0)], UInt64(bitPattern: -5)),
        ([.store(constant: -2, to: 10, -2, bytes: 2), .load(4, from: 10, -2, bytes: 2, mode: I.Mode.memorySigned)], UInt64(bitPattern: -2)),
        ([.store(constant: -2, to: 10, -2, bytes: 2), .load(4, from: 10, -2, bytes: 2)], 0xfffe),
        ([.move(4, -1), .move(5, 0), .jump(I.J.lessSigned, 4, 0, by: 1), .move(5, 1), .move(4, register: 5)], 0),
        ([.move(4, -1), .move(5, 0), .jump(I.J.less, 4, 5, by: 1), .move(5, 1), .move(4, register: 5)], 1),
        ([.move(4, 6), .move(5, 0), .jump(I.J.anyBit, 4, 2, by: 1), .move(5, 1), .move(4, register: 5)], 0),
    ] as [([Instruction], UInt64)])
    func computes(code: [Instruction], result: UInt64) {
        accept(program(code + [.store(4, to: 3, 0, bytes: 8)]))
        #expect(UInt64(laboratory.shared[0]) | UInt64(laboratory.shared[1]) << 32 == result)
    }

    @Test func aProgramThatRunsOutIsEnded() {
        let code = program([I](repeating: .move(4, 1), count: 100))
        #expect(laboratory.verify(code) == nil)
        #expect(laboratory.run(code, budget: 102) == .none)
        #expect(laboratory.run(code, budget: 101) == .budget)
        #expect(laboratory.place == 101)
    }

    /// The interpreter trusts nobody: what the verifier would refuse is ended, whatever it is.
    @Test func theInterpreterChecksByItself() {
        #expect(laboratory.run([.jump(by: -1)]) == .budget)
        #expect(laboratory.run([.load(0, from: 1, 256), .exit]) == .access)
        #expect(laboratory.run([.store(0, to: 1, 0), .exit]) == .access)
        #expect(laboratory.run([.load(0, from: 4, 0), .exit]) == .access)
        #expect(laboratory.run([.move(0, 0)]) == .instruction)
        #expect(laboratory.run([Instruction(opcode: 0x85), .exit]) == .instruction)
        #expect(laboratory.run([.move(0, 1), .exit]) == .gaveUp)
    }
}
