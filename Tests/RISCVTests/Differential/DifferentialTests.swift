import Foundation
import RISCV
import Scratch
import Simulation
import Testing

/// Random programs on the hart and on QEMU: the same registers, memory, traps and trap CSRs.
@Suite struct DifferentialTests {
    static let programCount = 1000
    /// `DIFFERENTIAL_SEED` in the environment tries others.
    static let seed = ProcessInfo.processInfo.environment["DIFFERENTIAL_SEED"].flatMap { UInt64($0) } ?? 0x0b5e_55ed

    private static let base: UInt32 = 0x8000_0000
    private static let imageSize = 64 << 20
    private static let table: UInt32 = 0x8000_2000, markers: UInt32 = 0x8008_0000, code: UInt32 = 0x8020_0000
    private static let data: UInt32 = 0x8100_0000, results: UInt32 = 0x8200_0000, resultSize: UInt32 = 0x2000
    private static let qemu = "/usr/bin/qemu-system-riscv32"

    /// Two memory images that differ only in the markers.
    struct Images {
        var hart: [UInt8]
        var reference: [UInt8]
        var entries: [UInt32] = []
    }

    static func makeImages(count: Int, seed: UInt64) throws -> Images {
        var images = Images(hart: [UInt8](repeating: 0, count: imageSize), reference: [])
        let harness = try ELFImage(fixture("differential.elf"))
        for segment in harness.segments {
            let place = offset(segment.address)..<offset(segment.address) + segment.fileBytes.count
            images.hart.replaceSubrange(place, with: harness.contents(of: segment))
        }
        images.reference = images.hart
        var random = SplitMix64(seed: seed)
        var origin = code, marker = 0
        for number in 0..<count {
            let page = data + UInt32(number) * ProgramGenerator.dataSize
            // Half of the programs begin at 2 mod 4.
            if number % 2 == 1 { origin += 2 }
            var generator = ProgramGenerator(seed: random.next(), origin: origin, data: page, firstMarker: marker)
            let program = generator.generate()
            images.hart.replaceSubrange(offset(origin)..<offset(origin) + program.code.count, with: program.code)
            images.reference.replaceSubrange(offset(origin)..<offset(origin) + program.code.count, with: program.referenceCode)

            var words = [origin, results + UInt32(number) * resultSize]
            for _ in 1..<32 { words.append(UInt32(truncatingIfNeeded: random.next())) }
            let contents = (0..<1024).map { _ in UInt32(truncatingIfNeeded: random.next()) }
            for image in [\Images.hart, \Images.reference] {
                put(words, at: table + UInt32(number * 33 * 4), &images[keyPath: image])
                put(contents, at: page, &images[keyPath: image])
            }
            let due = program.markers.flatMap { [$0.0, $0.1] }
            for image in [\Images.hart, \Images.reference] { put(due, at: markers + UInt32(8 * marker), &images[keyPath: image]) }
            marker += program.markers.count
            images.entries.append(origin)
            origin = (origin + UInt32(program.code.count) + 7) & ~3
        }
        try #require(origin < data && Int(markers) + 8 * marker < Int(code), "the programs need more room")
        return images
    }

    private static func offset(_ address: UInt32) -> Int { Int(address - base) }

    private static func put(_ words: [UInt32], at address: UInt32, _ image: inout [UInt8]) {
        image.withUnsafeMutableBytes { bytes in
            for (index, word) in words.enumerated() {
                bytes.storeBytes(of: word, toByteOffset: offset(address) + 4 * index, as: UInt32.self)
            }
        }
    }

    /// Runs an image on the hart and returns its memory afterwards. `run` decides how the instructions are executed.
    static func execute(
        _ image: [UInt8], run: (TestMachine) -> Void = { _ = $0.hart.run(until: .max) }
    ) throws -> (memory: [UInt8], state: HartState) {
        let machine = TestMachine(size: imageSize)
        machine.bytes.copyBytes(from: image)
        machine.respond = { access in
            if access.address == 0x10_0000 { machine.horizon = 0 }
            return .ok
        }
        run(machine)
        #expect(machine.accesses.last?.value == 0x5555)
        #expect(machine.accesses.count == 3)
        return (Array(machine.bytes), machine.hart.state)
    }

    /// Runs an image on QEMU, whose RAM is a file, and returns that afterwards.
    static func executeReference(_ image: [UInt8]) throws -> [UInt8] {
        let folder = try TemporaryFolder(), file = try folder.write(image, to: "ram")
        let process = Process()
        process.executableURL = URL(fileURLWithPath: qemu)
        process.arguments = [
            "-M", "virt,memory-backend=ram", "-m", "64M", "-smp", "2",
            "-object", "memory-backend-file,id=ram,size=64M,mem-path=\(file),share=on",
            "-cpu", "rv32,s=false,f=false,d=false,zba=true,zbb=true,zbs=true,zbc=false,pmp=true,h=false,v=false",
            "-bios", "none", "-display", "none", "-monitor", "none", "-serial", "none",
        ]
        let errors = Pipe()
        process.standardError = errors
        process.standardInput = FileHandle.nullDevice
        try process.run()
        let deadline = DispatchWorkItem { process.terminate() }
        DispatchQueue.global().asyncAfter(deadline: .now() + 120, execute: deadline)
        process.waitUntilExit()
        deadline.cancel()
        let text = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        try #require(process.terminationReason == .exit && process.terminationStatus == 0, "QEMU failed: \(text)")
        return try folder.read("ram")
    }

    static var hasReference: Bool { FileManager.default.isExecutableFile(atPath: qemu) }
    static var isContinuousIntegration: Bool { ProcessInfo.processInfo.environment["CI"] == "true" }

    static var isQuick: Bool { ProcessInfo.processInfo.environment["OUTRIGGER_QUICK"] == "1" }

    @Test(
        .disabled(if: isQuick, "OUTRIGGER_QUICK is set"),
        .enabled(if: hasReference || isContinuousIntegration, "needs \(qemu) (Debian: qemu-system-misc)"))
    func sameAsQEMU() throws {
        try #require(Self.hasReference, "\(Self.qemu) is missing; it must not be in continuous integration")
        print("seed \(Self.seed)")
        let images = try Self.makeImages(count: Self.programCount, seed: Self.seed)
        let (memory, state) = try Self.execute(images.hart)
        #expect(state.retired > UInt64(Self.programCount * 1000))
        let reference = try Self.executeReference(images.reference)
        var differing = 0
        for number in 0..<Self.programCount {
            let difference = Self.compare(number, memory, reference)
            guard let difference else { continue }
            differing += 1
            if differing <= 5 { Issue.record("program \(number) at \(hex(images.entries[number])): \(difference)") }
        }
        #expect(differing == 0, "\(differing) of \(Self.programCount) programs differ")
    }

    /// How a run is cut into pieces makes no difference: not to results, not to cycles, not to counters.
    @Test func sameWhateverTheQuantum() throws {
        let images = try Self.makeImages(count: 40, seed: Self.seed)
        let whole = try Self.execute(images.hart)
        let single = try Self.execute(images.hart) { machine in
            while machine.horizon != 0 { _ = machine.hart.step() }
        }
        #expect(single.state == whole.state)
        #expect(single.memory == whole.memory)
        var random = SplitMix64(seed: Self.seed)
        let pieces = try Self.execute(images.hart) { machine in
            while machine.horizon != 0 { _ = machine.hart.run(until: machine.hart.time + 1 + random.next() % 40) }
        }
        #expect(pieces.state == whole.state)
        #expect(pieces.memory == whole.memory)
    }

    /// Where one program's results differ, nil if nowhere.
    static func compare(_ number: Int, _ memory: [UInt8], _ reference: [UInt8]) -> String? {
        let result = results + UInt32(number) * resultSize, page = data + UInt32(number) * ProgramGenerator.dataSize
        for trap in 0..<min(256, Int(word(result, memory))) {
            for (index, name) in ["mcause", "mtval", "mepc", "mstatus"].enumerated() {
                let address = result + 256 + UInt32(16 * ((trap + 1) & 255) + 4 * index)
                let ours = word(address, memory), theirs = word(address, reference)
                guard ours != theirs else { continue }
                let pc = hex(word(address & ~15 | 8, memory))
                return "trap \(trap + 1) at \(pc): \(name) is \(hex(ours)), on QEMU \(hex(theirs))"
            }
        }
        let names = ["traps"] + (1..<32).map { "x\($0)" } + ["mstatus", "mepc", "mcause", "mtval", "mie", "mcounteren", "pmpcfg0"]
            + (0..<4).map { "pmpaddr\($0)" }
        for (index, name) in names.enumerated() {
            let ours = word(result + UInt32(4 * index), memory), theirs = word(result + UInt32(4 * index), reference)
            if ours != theirs { return "\(name) is \(hex(ours)), on QEMU \(hex(theirs))" }
        }
        for offset in stride(from: 0, to: ProgramGenerator.dataSize, by: 4) {
            let ours = word(page + offset, memory), theirs = word(page + offset, reference)
            if ours != theirs { return "memory at \(hex(page + offset)) is \(hex(ours)), on QEMU \(hex(theirs))" }
        }
        return nil
    }

    private static func word(_ address: UInt32, _ image: [UInt8]) -> UInt32 {
        image.withUnsafeBytes { $0.load(fromByteOffset: offset(address), as: UInt32.self) }
    }
}

func hex(_ value: UInt32) -> String { "0x" + String(value, radix: 16) }
