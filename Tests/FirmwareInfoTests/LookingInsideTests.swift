import FirmwareInfo
import Testing

@Suite(.enabled(if: Image.isBuilt, "tools/firmware builds the image"))
struct LookingInsideTests {
    let information: DebugInformation
    let memory = FakeMemory()

    init() throws { information = try #require(Image.information) }

    private func address(_ symbol: String) throws -> UInt32 { try #require(information.image.symbol(symbol)).address }

    @Test func theTraceIsReadWithTheImagesOwnNames() throws {
        let ring = try address("offload_trace")
        memory.write([0x6f74_7263, 2, 512, 4], at: ring)
        // boot; two windows alike; a command: opcode 1 of AdminOpcode's cases, status 5 of AdminStatus's, qualifier 3.
        memory.write([100, 0, 5, 7], at: ring + 16)
        memory.write([200, 4, 9, 1000], at: ring + 32)
        memory.write([300, 4, 9, 1000], at: ring + 48)
        memory.write([400, 1, 0x03_05_01, 0], at: ring + 64)
        let trace = try FirmwareTrace(information, memory)
        #expect(trace.written == 4)
        let lines = trace.records.map { record in
            let fields = record.fields.map { "\($0.name)=\($0.text)" }.joined(separator: " ")
            return "\(record.number) \(record.cycle) \(record.kind) \(fields)" + (record.repeats > 0 ? " x\(record.repeats + 1)" : "")
        }
        #expect(lines == [
            "0 100 boot causes=5 starts=7", "1 200 window number=9 cycles=1000 x2",
            "3 400 command opcode=identify status=invalid qualifier=field",
        ])
        #expect(trace.records[1].lastCycle == 300)
    }

    @Test func theRingsLastRecordsAreThereWhenItHasWrapped() throws {
        let ring = try address("offload_trace")
        memory.write([0x6f74_7263, 2, 512, 1 &<< 31], at: ring)
        for place in 0..<512 as Range<UInt32> { memory.write([place, 5, place, 0], at: ring + 16 + 16 * place) }
        let trace = try FirmwareTrace(information, memory)
        #expect(trace.records.count == 512 && trace.records.first?.number == 1 << 31 - 512)
        #expect(trace.records.first?.fields.map(\.value) == [0] && trace.records.last?.fields.map(\.value) == [511])
    }

    @Test func whatIsNoRingIsRefused() throws {
        let ring = try address("offload_trace")
        for head: [UInt32] in [[0, 2, 512, 1], [0x6f74_7263, 1, 512, 1], [0x6f74_7263, 2, 513, 1], [0x6f74_7263, 2, 1 << 31, 1]] {
            memory.write(head, at: ring)
            #expect(throws: DebugInformationError.self) { try FirmwareTrace(information, memory) }
        }
        memory.write([0x6f74_7263, 2, 512, 1], at: ring)
        memory.write([1, 77, 0x8000_0000, 3], at: ring + 16)
        let record = try #require(try FirmwareTrace(information, memory).records.first)
        #expect(record.kind == "kind 77" && record.fields.map(\.text) == ["0x80000000 <_start>", "3"])
    }

    @Test func countersHaveTheImagesNames() throws {
        memory.write((0..<20).map { 100 + $0 }, at: try address("offload_counters"))
        let counters = try FirmwareCounters(information, memory)
        #expect(counters.values.map(\.name).prefix(3) == ["passes", "commands", "commandsRefused"])
        #expect(counters.values.last?.name == "changesUndone" && counters.values.map(\.value) == (0..<20).map { 100 + $0 })
    }

    @Test func aCrashIsTracedBackByTheStackThatTheTrapHandlerKept() throws {
        // In sp's function nothing has been pushed yet: the return address is in ra.
        let leaf = try #require(information.functions(named: "memcpy").first).ranges[0].lowerBound
        let caller = try #require(information.functions(named: "offload_main").first).ranges[0]
        var x = (0..<32).map { UInt32($0) }
        x[1] = caller.upperBound - 4
        x[2] = 0x8001_b000
        for (number, value) in x.enumerated() { memory.registers["HOSTIF.FAULT_X[\(number)]"] = UInt64(value) }
        #expect(try { memory.registers["HOSTIF.FAULT"] = 0; return try FaultReport(information, memory) }() == nil)
        memory.registers["HOSTIF.FAULT"] = 0x0002_0001
        for (name, value) in [("CYCLE", 1234), ("COUNT", 1), ("CAUSE", 5), ("ADDRESS", 0), ("PC", UInt64(leaf))] as [(String, UInt64)] {
            memory.registers["HOSTIF.FAULT_\(name)"] = value
        }
        memory.write(x + [5, leaf, 0, 0x1800], at: try address("offload_fault_frame"))
        memory.write([x[2]] + (0..<64).map { 0xdead_0000 + $0 }, at: try address("offload_fault_stack"))
        let report = try #require(try FaultReport(information, memory))
        #expect(report.hasStack && report.cycle == 1234 && report.cause == 5 && report.registers.pc == leaf)
        #expect(report.backtrace.first?.function == "memcpy")
        #expect(report.backtrace.contains { $0.function == "offload_main" && $0.pc == x[1] })

        // The last crash was another one.
        memory.write([leaf + 2], at: try address("offload_fault_frame") + 33 * 4)
        #expect(try #require(try FaultReport(information, memory)).hasStack == false)
    }
}
