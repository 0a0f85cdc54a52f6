import AdminProtocol

/// The policies that there are: those of the firmware and those that the host has uploaded.
///
/// An upload goes to a bank of its own and is verified there. Only then it becomes a policy, by exchange of the banks: until the next
/// decision the old program is in force, from then on the new one. The old one stays in the upload's bank until the next upload begins,
/// so that a program that fails gives way to the one that it has replaced.
public struct PolicyRegistry {
    struct Slot: BitwiseCopyable {
        /// Instructions of the program; 0: none.
        var count: UInt16 = 0
        var bank: UInt8 = 0
        /// Instructions of the program before this one, which is in the upload's bank; 0: none.
        var countBefore: UInt16 = 0
        var evaluations: UInt32 = 0
        var faults: UInt32 = 0
        var lastFault: UInt32 = 0
        var values = TuningValues()
        var name: (UInt64, UInt64, UInt64) = (0, 0, 0)
    }

    /// A program that is in force, or that could be again.
    struct BankedProgram: BitwiseCopyable {
        /// Instructions; 0: none.
        var count: UInt32 = 0
        var checksum: UInt32 = 0
        /// Whether, and where, the log has it.
        var isRecorded = false
        var recordedAt: UInt32 = 0
    }

    private static let uploads = PolicyNumber.uploaded.count
    static let bankCount = uploads + 1
    private static let memoryWords = (PolicyContexts.owners + 1) * Int(Place.memoryBytes) / 4

    private let slots: Table<Slot>
    /// One for each uploaded policy, and one for the next upload.
    private let banks: Table<Instruction>
    private let programs: Table<BankedProgram>
    private let memories: Table<UInt32>
    /// Stands in for one of them while a policy is only tried.
    private let shadowMemory: Table<UInt32>
    private var interpreter: Interpreter
    private var verifier: Verifier
    private var uploadBank: UInt8 = UInt8(PolicyRegistry.uploads)
    /// Bytes of the upload that have arrived, and their checksum.
    private var arrived: UInt32 = 0
    private var checksum = Checksum()

    /// Instructions that all programs together may execute for one decision.
    public static let budget: UInt32 = 32_768

    init(in arena: inout Arena) {
        slots = arena.table(of: Int(PolicyNumber.count), repeating: Slot())
        banks = arena.table(of: Self.bankCount * Verifier.longest, repeating: Instruction())
        programs = arena.table(of: Self.bankCount, repeating: BankedProgram())
        memories = arena.table(of: Self.uploads * Self.memoryWords, repeating: 0)
        shadowMemory = arena.table(of: Self.memoryWords, repeating: 0)
        interpreter = Interpreter(in: &arena)
        verifier = Verifier(in: &arena)
        for number in 0..<slots.count { slots[number].values = BuiltInPolicies.values(UInt32(truncatingIfNeeded: number)) }
        for upload in 0..<Self.uploads { slots[Self.slot(upload)].bank = UInt8(truncatingIfNeeded: upload) }
        slots[Int(PolicyNumber.fixed)].name = Self.name("fixed")
        slots[Int(PolicyNumber.fair)].name = Self.name("fair")
        slots[Int(PolicyNumber.latencyFirst)].name = Self.name("latency-first")
        slots[Int(PolicyNumber.throughputFirst)].name = Self.name("throughput-first")
        slots[Int(PolicyNumber.adaptive)].name = Self.name("adaptive")
    }

    private static func slot(_ upload: Int) -> Int { Int(PolicyNumber.uploaded.lowerBound) + upload }

    private static func name(_ text: StaticString) -> (UInt64, UInt64, UInt64) {
        var words: (UInt64, UInt64, UInt64) = (0, 0, 0)
        withUnsafeMutableBytes(of: &words) { bytes in
            for index in 0..<min(text.utf8CodeUnitCount, bytes.count) { bytes[index] = text.utf8Start[index] }
        }
        return words
    }

    /// Whether there is a policy of this number.
    public func contains(_ number: UInt32) -> Bool {
        number < PolicyNumber.uploaded.lowerBound || number == PolicyNumber.adaptive
            || (PolicyNumber.uploaded.contains(number) && slots[Int(number)].count != 0)
    }

    /// The numbers of all policies, one bit each.
    public var numbers: UInt32 {
        var numbers: UInt32 = 0
        for number in 0..<PolicyNumber.count where contains(number) { numbers |= 1 &<< number }
        return numbers
    }

    /// What the host is told of a policy that there is.
    public func entry(_ number: UInt32) -> PolicyEntry {
        let slot = slots[Int(number)]
        var entry = PolicyEntry()
        entry.number = number
        entry.instructions = UInt32(slot.count)
        entry.evaluations = slot.evaluations
        entry.faults = slot.faults
        entry.lastFault = slot.lastFault
        entry.values = slot.values
        entry.name = slot.name
        return entry
    }

    /// Bytes of the longest program.
    public static let longestProgram = Verifier.longest * 8

    /// Copies an uploaded policy's program to where there is room for the longest one.
    /// - Returns: its bytes.
    public func copyProgram(_ number: UInt32, to place: UnsafeMutableRawPointer) -> Int {
        let slot = slots[Int(number)]
        let bytes = Int(slot.count) &* 8
        place.copyMemory(from: banks.part(Int(slot.bank), of: Verifier.longest), byteCount: bytes)
        return bytes
    }

    /// Sets the values that tune a policy.
    public func set(_ values: TuningValues, of number: UInt32) { slots[Int(number)].values = values }
    public func values(of number: UInt32) -> TuningValues { slots[Int(number)].values }

    // MARK: Uploads

    /// Takes in a byte of the program that is being uploaded; none beyond the longest program.
    public mutating func upload(_ byte: UInt8) {
        guard arrived < UInt32(Verifier.longest * 8) else { return }
        let bank = UnsafeMutableRawPointer(banks.part(Int(uploadBank), of: Verifier.longest))
        bank.storeBytes(of: byte, toByteOffset: Int(arrived), as: UInt8.self)
        checksum.add(byte)
        arrived &+= 1
    }

    /// Whether a piece that begins at this offset is the next one; at 0 a new upload begins.
    public mutating func expects(_ offset: UInt32) -> Bool {
        if offset == 0 {
            (arrived, checksum) = (0, Checksum())
            for upload in 0..<Self.uploads { slots[Self.slot(upload)].countBefore = 0 }
            programs[Int(uploadBank)] = BankedProgram()
        }
        return offset == arrived
    }

    /// Verifies what was uploaded, and makes it a policy.
    /// - Returns: nil when that is done, else what is wrong; then all is as it was.
    public mutating func install(_ installation: PolicyInstallation) -> PolicyRefusal? {
        guard arrived == installation.count else {
            let expected = Int64(installation.count)
            return PolicyRefusal(.incomplete, at: 0, expected: expected, through: expected, found: Int64(arrived))
        }
        guard checksum.value == installation.checksum else {
            let expected = Int64(installation.checksum)
            return PolicyRefusal(.checksum, at: 0, expected: expected, through: expected, found: Int64(checksum.value))
        }
        guard arrived & 7 == 0 else {
            return PolicyRefusal(.truncated, at: Int(arrived / 8), expected: 8, through: 8, found: Int64(arrived & 7))
        }
        let count = Int(arrived / 8)
        if let refusal = verifier.verify(UnsafePointer(banks.part(Int(uploadBank), of: Verifier.longest)), count: count) { return refusal }
        let number = Int(installation.number)
        let old = slots[number]
        var slot = Slot()
        slot.count = UInt16(truncatingIfNeeded: count)
        slot.bank = uploadBank
        slot.countBefore = old.count
        slot.values = old.values
        slot.name = installation.name
        slots[number] = slot
        programs[Int(uploadBank)] = BankedProgram(count: UInt32(truncatingIfNeeded: count), checksum: checksum.value)
        uploadBank = old.bank
        (arrived, checksum) = (0, Checksum())
        forget(number)
        return nil
    }

    /// Takes an uploaded policy away.
    public func remove(_ number: UInt32) {
        let bank = slots[Int(number)].bank
        slots[Int(number)] = Slot()
        slots[Int(number)].bank = bank
        programs[Int(bank)] = BankedProgram()
    }

    /// Puts the program back that a policy's present one has replaced.
    /// - Returns: false, with nothing changed, if there is none any more.
    mutating func goBack(_ number: UInt32) -> Bool {
        let number = Int(number)
        let before = slots[number].countBefore
        guard before != 0 else { return false }
        (slots[number].bank, uploadBank) = (uploadBank, slots[number].bank)
        slots[number].count = before
        slots[number].countBefore = 0
        programs[Int(uploadBank)] = BankedProgram()
        forget(number)
        return true
    }

    private func forget(_ number: Int) {
        memories.part(number - Int(PolicyNumber.uploaded.lowerBound), of: Self.memoryWords).update(repeating: 0, count: Self.memoryWords)
    }

    // MARK: What the log has of programs

    /// The program in a bank; nil if none that could be in force is there.
    func program(inBank bank: Int) -> BankedProgram? { programs[bank].count == 0 ? nil : programs[bank] }

    /// Its instructions, two words each.
    func words(inBank bank: Int) -> UnsafePointer<UInt32> {
        UnsafeRawPointer(banks.part(bank, of: Verifier.longest)).assumingMemoryBound(to: UInt32.self)
    }

    func name(of number: UInt32) -> (UInt64, UInt64, UInt64) { slots[Int(number)].name }

    func setRecorded(_ bank: Int, at position: UInt32) { (programs[bank].isRecorded, programs[bank].recordedAt) = (true, position) }

    /// An uploaded policy's program, and the one that it would give way to.
    func programs(of number: UInt32) -> (now: BankedProgram, before: BankedProgram) {
        let slot = slots[Int(number)]
        return (slot.count == 0 ? BankedProgram() : programs[Int(slot.bank)],
                slot.countBefore == 0 ? BankedProgram() : programs[Int(uploadBank)])
    }

    // MARK: Evaluation

    /// Lets a policy state its claims for each owner. They begin as what the owner needs, with the host's weight.
    /// - Returns: `none`, or why its program was ended; then the claims are not to be used.
    mutating func evaluate(_ number: UInt32, _ contexts: PolicyContexts, _ owners: OwnerSet) -> Interpreter.Fault {
        slots[Int(number)].evaluations &+= 1
        let fault = run(number, contexts, owners, memory: memory(of: number))
        if fault != .none {
            slots[Int(number)].faults &+= 1
            slots[Int(number)].lastFault = fault.rawValue | UInt32(truncatingIfNeeded: interpreter.place) << 16
        }
        return fault
    }

    /// The same, but nothing of it stays except the claims: the policy remembers nothing, and nothing is counted.
    mutating func evaluateInShadow(_ number: UInt32, _ contexts: PolicyContexts, _ owners: OwnerSet) -> Interpreter.Fault {
        guard let memory = memory(of: number) else { return run(number, contexts, owners, memory: nil) }
        let shadow = shadowMemory.part(0, of: Self.memoryWords)
        shadow.update(from: memory, count: Self.memoryWords)
        return run(number, contexts, owners, memory: shadow)
    }

    /// The memory of an uploaded policy; nil of one of the firmware's.
    func memory(of number: UInt32) -> UnsafeMutablePointer<UInt32>? {
        guard PolicyNumber.uploaded.contains(number) else { return nil }
        return memories.part(Int(number) - Int(PolicyNumber.uploaded.lowerBound), of: Self.memoryWords)
    }

    private mutating func run(
        _ number: UInt32, _ contexts: PolicyContexts, _ owners: OwnerSet, memory: UnsafeMutablePointer<UInt32>?
    ) -> Interpreter.Fault {
        let slot = slots[Int(number)]
        var rest = owners
        while let owner = rest.popFirst() {
            let context = contexts[owner]
            for resource in Resource.all { context[.claim, resource] = context[.need, resource] }
            context[.weight] = max(min(context[.ownerWeight], PolicyContext.heaviest), 1)
            for index in 0..<4 { context.words[PolicyContext.Field.value.rawValue + index] = slot.values[index] }
        }
        guard let memory else {
            BuiltInPolicies.evaluate(number, contexts, owners, slot.values)
            return .none
        }
        let program = UnsafePointer(banks.part(Int(slot.bank), of: Verifier.longest))
        let words = Int(Place.memoryBytes) / 4
        interpreter.budget = Self.budget
        rest = owners
        while let owner = rest.popFirst() {
            let context = contexts[owner]
            var fault = interpreter.run(
                program, count: Int(slot.count), context: context.words, own: memory + (owner + 1) * words, shared: memory)
            if fault == .none, !context.isSensible { fault = .claim }
            if fault != .none { return fault }
        }
        return .none
    }
}
