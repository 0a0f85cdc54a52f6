import PCIExpress
import Registers
import Testing

private typealias AER = AdvancedErrorReporting

@Suite struct ErrorTests {
    private func register(_ function: PCIFunction, _ offset: Int) -> UInt32 {
        function.readConfiguration(function.extendedCapability(1)! + offset, size: 4)
    }
    private func set(_ function: PCIFunction, _ offset: Int, _ value: UInt32) {
        function.writeConfiguration(function.extendedCapability(1)! + offset, size: 4, value)
    }
    private func count(_ function: PCIFunction, _ message: ErrorMessage, _ name: String) -> UInt64? {
        function.state.errors.lines(message).first { $0.name == name }?.count
    }
    private func deviceStatus(_ function: PCIFunction) -> UInt32 {
        function.readConfiguration(function.capability(0x10)! + Express.deviceStatus, size: 2)
    }

    @Test func aRefusedReadIsAnAdvisoryError() throws {
        let fixture = try Fixture()
        let physical = fixture.physical
        let base = physical.resources[0].first
        _ = fixture.read(0, 0, 0x2_0004)
        #expect(register(physical, AER.uncorrectableStatus) == 1 << 20)
        #expect(register(physical, AER.correctableStatus) == 1 << 13)
        #expect(register(physical, AER.control) & 0x1f == 20)
        // A 32-bit memory read of one dword by the root complex.
        #expect((0..<4).map { register(physical, AER.headerLog + 4 * $0) } == [0x0000_0001, 0x0000_000f, UInt32(base) + 0x2_0004, 0])
        #expect(deviceStatus(physical) == 0x9, "correctable and unsupported request")
        #expect(count(physical, .correctable, "NonFatalErr") == 1)
        #expect(count(physical, .correctable, "TOTAL_ERR_COR") == 1)
        #expect(count(physical, .nonFatal, "TOTAL_ERR_NONFATAL") == 0)
        let port = fixture.hierarchy.rootPort
        #expect(register(port, AER.rootStatus) == 1)
        #expect(register(port, AER.errorSource) == 0x0100)
        #expect(port.state.receivedMessages == [1, 0, 0])
    }

    @Test func aRefusedWriteIsNotAdvisory() throws {
        let fixture = try Fixture()
        let physical = fixture.physical
        fixture.write(0, 2, 0x7ffe, 0xabcd, size: 8)
        #expect(register(physical, AER.uncorrectableStatus) == 1 << 20)
        #expect(register(physical, AER.correctableStatus) == 0)
        let base = physical.resources[2].first + 0x7ffe
        // Above 4 GiB: four dwords; three dwords of data, from byte 2 of the first to byte 1 of the last.
        #expect((0..<4).map { register(physical, AER.headerLog + 4 * $0) }
            == [0x6000_0003, 0x0000_003c, UInt32(base >> 32), UInt32(truncatingIfNeeded: base) & ~3])
        #expect(count(physical, .nonFatal, "UnsupReq") == 1)
        #expect(deviceStatus(physical) == 0xa)
        #expect(physical.readConfiguration(Header.status, size: 2) & 0x4000 != 0, "signaled system error")
        let port = fixture.hierarchy.rootPort
        #expect(register(port, AER.rootStatus) == 0x24)
        #expect(register(port, AER.errorSource) == 0x0100_0000)
        #expect(port.readConfiguration(BridgeHeader.secondaryStatus, size: 2) & 0x4000 != 0)
        fixture.write(0, 2, 0x7ffe, 0xabcd, size: 8)
        #expect(register(port, AER.rootStatus) == 0x2c, "and another one")
    }

    @Test func statusIsClearedByOnesAndFreesTheLog() throws {
        let fixture = try Fixture()
        let physical = fixture.physical
        let base = UInt32(physical.resources[0].first)
        _ = fixture.read(0, 0, 0x2_0000)
        _ = fixture.read(0, 0, 0x3_0000)
        #expect(register(physical, AER.headerLog + 8) == base + 0x2_0000, "the log keeps the first error")
        #expect(count(physical, .correctable, "NonFatalErr") == 2)
        set(physical, AER.uncorrectableStatus, 0)
        #expect(register(physical, AER.uncorrectableStatus) == 1 << 20)
        set(physical, AER.uncorrectableStatus, ~0)
        #expect(register(physical, AER.uncorrectableStatus) == 0)
        _ = fixture.read(0, 0, 0x3_0000)
        #expect(register(physical, AER.headerLog + 8) == base + 0x3_0000)
        physical.writeConfiguration(physical.capability(0x10)! + Express.deviceStatus, size: 2, 0xffff)
        #expect(deviceStatus(physical) == 0)
        physical.writeConfiguration(Header.status, size: 2, 0xffff)
        #expect(physical.readConfiguration(Header.status, size: 2) == 0x10)
    }

    @Test func masksStopMessagesAndTheLog() throws {
        let fixture = try Fixture()
        let physical = fixture.physical
        set(physical, AER.uncorrectableMask, 1 << 20)
        fixture.write(0, 0, 2, 0)
        #expect(register(physical, AER.uncorrectableStatus) == 1 << 20, "the status is set all the same")
        #expect(register(physical, AER.headerLog) == 0)
        #expect(count(physical, .nonFatal, "UnsupReq") == 0)
        set(physical, AER.uncorrectableStatus, ~0)
        set(physical, AER.correctableMask, 1 << 13)
        _ = fixture.read(0, 0, 2)
        #expect(register(physical, AER.correctableStatus) == 1 << 13)
        #expect(register(physical, AER.uncorrectableStatus) == 0, "a masked advisory error is logged nowhere else")
        #expect(count(physical, .correctable, "NonFatalErr") == 0)
    }

    @Test func severityDecidesTheMessage() throws {
        let fixture = try Fixture()
        let physical = fixture.physical
        set(physical, AER.uncorrectableSeverity, 1 << 20)
        _ = fixture.read(0, 0, 2)
        #expect(count(physical, .fatal, "UnsupReq") == 1)
        #expect(count(physical, .fatal, "TOTAL_ERR_FATAL") == 1)
        #expect(register(physical, AER.correctableStatus) == 0)
        #expect(deviceStatus(physical) == 0xc)
        #expect(register(fixture.hierarchy.rootPort, AER.rootStatus) == 0x54)
    }

    @Test func reportingCanBeTurnedOff() throws {
        let fixture = try Fixture()
        let physical = fixture.physical
        physical.writeConfiguration(Header.command, size: 2, 2)
        physical.writeConfiguration(physical.capability(0x10)! + Express.deviceControl, size: 2, 0x0007)
        fixture.write(0, 0, 2, 0)
        _ = fixture.read(0, 0, 2)
        #expect(count(physical, .nonFatal, "UnsupReq") == 0, "unsupported requests have an enable of their own")
        #expect(count(physical, .correctable, "NonFatalErr") == 0)
        #expect(register(physical, AER.uncorrectableStatus) == 1 << 20)
        physical.writeConfiguration(Header.command, size: 2, 0x102)
        fixture.write(0, 0, 2, 0)
        #expect(count(physical, .nonFatal, "UnsupReq") == 1, "SERR# enables it as well")
        #expect(physical.state.refusedAccesses == 3)
    }

    @Test func theTargetsRefusalDecidesTheError() throws {
        let fixture = try Fixture()
        let physical = fixture.physical
        let target = fixture.targets[0][0]!
        for (refusal, bit) in [(BusStatus.denied, 15), (.uncorrectable, 22), (.writeOnly, 20), (.misaligned, 20)] {
            target.refusal = refusal
            #expect(fixture.read(0, 0, 0) == (refusal, 0xffff_ffff))
            #expect(register(physical, AER.uncorrectableStatus) == 1 << UInt32(bit), "\(refusal)")
            set(physical, AER.uncorrectableStatus, ~0)
        }
        #expect(physical.readConfiguration(Header.status, size: 2) & 0x0800 != 0, "signaled target abort")
        #expect(count(physical, .fatal, "UncorrIntErr") == 1)
    }

    @Test func aVirtualFunctionObeysThePhysicalFunctionsMasks() throws {
        let fixture = try Fixture()
        try fixture.hierarchy.setVirtualFunctions(2)
        let function = fixture.function(2)
        fixture.write(2, 0, 1, 0)
        #expect(register(function, AER.uncorrectableStatus) == 1 << 20)
        #expect(register(fixture.physical, AER.uncorrectableStatus) == 0)
        #expect(count(function, .nonFatal, "UnsupReq") == 1)
        #expect(register(fixture.hierarchy.rootPort, AER.errorSource) == 0x0109_0000)
        set(fixture.physical, AER.uncorrectableMask, 1 << 20)
        fixture.write(2, 0, 1, 0)
        #expect(count(function, .nonFatal, "UnsupReq") == 1)
        // One that isn't there is function 0's business.
        set(fixture.physical, AER.uncorrectableMask, 0)
        fixture.write(3, 0, 0, 0)
        #expect(register(fixture.physical, AER.uncorrectableStatus) == 1 << 20)
    }

    @Test func everyErrorCanBeInjected() throws {
        let fixture = try Fixture()
        let physical = fixture.physical
        for error in UncorrectableError.allCases {
            physical.report(error)
            let exists = error != .surpriseDown && error != .accessControlViolation
            #expect(register(physical, AER.uncorrectableStatus) == (exists ? 1 << UInt32(error.rawValue) : 0))
            set(physical, AER.uncorrectableStatus, ~0)
            #expect(register(physical, AER.uncorrectableStatus) == 0)
        }
        for error in CorrectableError.allCases {
            physical.report(error)
            #expect(register(physical, AER.correctableStatus) == 1 << UInt32(error.rawValue))
            set(physical, AER.correctableStatus, ~0)
        }
        #expect(count(physical, .correctable, "TOTAL_ERR_COR") == UInt64(CorrectableError.allCases.count))
    }

    @Test func theCounterFilesHaveLinuxNames() throws {
        let fixture = try Fixture()
        let counts = fixture.physical.state.errors
        #expect(counts.lines(.correctable).map(\.name)
            == ["RxErr", "BadTLP", "BadDLLP", "Rollover", "Timeout", "NonFatalErr", "CorrIntErr", "HeaderOF", "TOTAL_ERR_COR"])
        #expect(counts.lines(.fatal).count == 19)
        #expect(counts.lines(.fatal).first?.name == "Undefined")
        #expect(counts.lines(.nonFatal).last?.name == "TOTAL_ERR_NONFATAL")
    }
}
