import AdminProtocol
import Simulation
import Testing

/// Encodes a value into a buffer that was full of ones, between guard bytes, at an odd address.
private func encoded<Value: WireLayout>(_ value: Value) -> [UInt8] {
    var bytes = [UInt8](repeating: 0xff, count: Value.byteCount + 2)
    bytes.withUnsafeMutableBytes { value.encode(to: $0.baseAddress! + 1) }
    #expect(bytes.first == 0xff && bytes.last == 0xff, "encoding wrote outside its bytes")
    return Array(bytes[1..<(bytes.count - 1)])
}

private func decoded<Value: WireLayout>(_ bytes: [UInt8], as type: Value.Type = Value.self) -> Value? {
    let shifted = [0xaa] + bytes
    return shifted.withUnsafeBytes { Value(UnsafeRawBufferPointer(rebasing: $0[1...])) }
}

/// Little-endian bytes of (offset, size, value) in a buffer of zeros: the tables of regmaps/hostif/README.md, written out.
private func layout(_ count: Int, _ parts: [(offset: Int, size: Int, value: UInt64)]) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    for part in parts {
        for index in 0..<part.size { bytes[part.offset + index] = UInt8(truncatingIfNeeded: part.value >> UInt64(8 * index)) }
    }
    return bytes
}

/// Random bytes, decoded and encoded, come back with the reserved bytes zero; and decode to the same value again.
private func roundTrips<Value: WireLayout>(_ type: Value.Type, reserved: [Range<Int>]) {
    var generator = SplitMix64(seed: 0x0dd_ba11)
    for _ in 0..<200 {
        var bytes = (0..<Value.byteCount).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
        guard let value = decoded(bytes, as: type) else { Issue.record("\(type) did not decode \(bytes.count) bytes"); return }
        for range in reserved { for index in range { bytes[index] = 0 } }
        #expect(encoded(value) == bytes, "\(type)")
        #expect(decoded(bytes) == value, "\(type)")
    }
    #expect(decoded([UInt8](repeating: 0, count: Value.byteCount - 1), as: type) == nil, "\(type) decoded too few bytes")
    var short = [UInt8](repeating: 7, count: Value.byteCount - 1)
    let value = decoded([UInt8](repeating: 1, count: Value.byteCount), as: type)!
    #expect(!short.withUnsafeMutableBytes { value.encode(into: $0) })
    #expect(short.allSatisfy { $0 == 7 }, "\(type) wrote into a buffer that is too short")
}

@Suite struct LayoutTests {
    @Test func everyLayoutRoundTripsAndZeroesWhatIsReserved() {
        roundTrips(AdminCommand.self, reserved: [4..<8])
        roundTrips(AdminResult.self, reserved: [])
        roundTrips(OpcodeList.self, reserved: [])
        roundTrips(Identity.self, reserved: [29..<32])
        roundTrips(FeatureSelect.self, reserved: [4..<8])
        roundTrips(FeatureValue.self, reserved: [4..<8])
        roundTrips(Baseline.self, reserved: [31..<32])
        roundTrips(PolicyParameters.self, reserved: [20..<32])
        roundTrips(Allocation.self, reserved: [20..<32])
        roundTrips(ServiceTerms.self, reserved: [7..<8, 13..<14, 16..<32])
        roundTrips(LogRequest.self, reserved: [2..<4, 24..<32])
        roundTrips(LogStatus.self, reserved: [])
        roundTrips(LogRecord.self, reserved: [])
        roundTrips(StatisticsRequest.self, reserved: [4..<8])
        roundTrips(StatisticsHeader.self, reserved: [])
        roundTrips(AnalysisHeader.self, reserved: [30..<32])
        roundTrips(MetricAnalysis.self, reserved: [])
        roundTrips(ReportedUse.self, reserved: [31..<32])
        roundTrips(AnalysisEntry.self, reserved: [26..<28, 127..<128])
        roundTrips(StatisticsEntry.self, reserved: [7..<8, 112..<128])
        roundTrips(DeviceEvent.self, reserved: [])
        roundTrips(LatencyHistogram.self, reserved: [])
        roundTrips(OwnerKey.self, reserved: [])
        roundTrips(AuditHeader.self, reserved: [12..<32])
        roundTrips(AuditEntry.self, reserved: [4..<8, 44..<48])
        roundTrips(PlacementParameters.self, reserved: [1..<2, 10..<16])
        roundTrips(PlacementStatus.self, reserved: [1..<2, 10..<16, 60..<64])
    }

    @Test func commandAndResultLieAsVirtioAdminCommandsDo() {
        #expect(encoded(AdminCommand(.setAllocation, group: .virtualFunction, member: 0x0102_0304_0506_0708, key: 9))
            == layout(24, [(0, 2, 0x31), (2, 2, 1), (8, 8, 9), (16, 8, 0x0102_0304_0506_0708)]))
        #expect(encoded(AdminResult(.invalid, .member, resultBytes: 0x11223344)) == layout(8, [(0, 2, 22), (2, 2, 5), (4, 4, 0x11223344)]))
    }

    @Test func identityLiesAsDocumented() {
        var identity = Identity()
        identity.firmwareMajor = 3; identity.firmwareMinor = 2; identity.firmwarePatch = 1
        identity.virtualFunctions = 64; identity.harts = 2; identity.serviceCores = 8
        identity.clockHertz = 1_000_000_000; identity.linkBandwidth = 31_500; identity.memoryBlocks = 256; identity.memoryBlockShift = 16
        identity.gpuSlots = 4; identity.fpgaSlots = 5; identity.features = 7
        identity.setBuild("outrigger 0.1")
        let expected = layout(64, [
            (0, 4, 0x5254_554f), (4, 2, 2), (6, 2, 1), (8, 1, 1), (9, 1, 2), (10, 2, 3), (12, 2, 64), (14, 1, 2), (15, 1, 8),
            (16, 4, 1_000_000_000), (20, 4, 31_500), (24, 2, 256), (26, 1, 16), (27, 1, 4), (28, 1, 5), (32, 8, 7),
        ] + Array("outrigger 0.1".utf8).enumerated().map { (40 + $0.offset, 1, UInt64($0.element)) })
        #expect(encoded(identity) == expected)
        #expect((0..<identity.buildByteCount).map(identity.buildByte) == Array("outrigger 0.1".utf8))
        identity.setBuild("a text of more than twenty-four bytes")
        #expect((0..<identity.buildByteCount).map(identity.buildByte) == Array("a text of more than twenty-four bytes".utf8.prefix(24)))
    }

    @Test func parametersLieAsDocumented() {
        var policy = PolicyParameters()
        policy.policy = 0x0102; policy.flags = 0x0304; policy.periodWindows = 0x05060708; policy.hysteresisPermille = 0x1112
        policy.leastPermille = 0x1314
        policy.mostPermille = 0x1516; policy.smoothing = 0x1718; policy.headroomPermille = 0x191a; policy.idleWindows = 0x1b1c
        #expect(encoded(policy) == layout(32, [
            (0, 2, 0x0102), (2, 2, 0x0304), (4, 4, 0x05060708), (8, 2, 0x1112), (10, 2, 0x1314), (12, 2, 0x1516), (14, 2, 0x1718),
            (16, 2, 0x191a), (18, 2, 0x1b1c),
        ]))
        var allocation = Allocation()
        allocation.guaranteePermille = 1; allocation.weight = 2; allocation.limit = 3; allocation.serviceCores = 4; allocation.gpuSlots = 5
        allocation.fpgaSlots = 6; allocation.flags = Allocation.pinned; allocation.firstMemoryBlock = 8; allocation.memoryBlocks = 9
        allocation.generation = 10
        #expect(encoded(allocation) == layout(32, [
            (0, 2, 1), (2, 2, 2), (4, 4, 3), (8, 1, 4), (9, 1, 5), (10, 1, 6), (11, 1, 1), (12, 2, 8), (14, 2, 9), (16, 4, 10),
        ]))
        var terms = ServiceTerms()
        terms.latencyMicroseconds = 1; terms.expectedCores = 2; terms.expectedGPUSlots = 3; terms.expectedFPGASlots = 4
        terms.expectedMemoryBlocks = 5; terms.leastPermille = 6; terms.leastCores = 7; terms.leastMemoryBlocks = 8
        #expect(encoded(terms) == layout(32, [
            (0, 4, 1), (4, 1, 2), (5, 1, 3), (6, 1, 4), (8, 2, 5), (10, 2, 6), (12, 1, 7), (14, 2, 8),
        ]))
        var request = LogRequest()
        request.granularity = 1; request.pageShift = 2; request.ringRecords = 3; request.regionAddress = 4; request.regionPages = 5
        request.watermark = 6
        #expect(encoded(request) == layout(32, [(0, 1, 1), (1, 1, 2), (4, 4, 3), (8, 8, 4), (16, 4, 5), (20, 4, 6)]))
    }

    @Test func statisticsLieAsDocumented() {
        var entry = StatisticsEntry()
        entry.owner = 1; entry.flags = 2; entry.guaranteePermille = 3; entry.weight = 4; entry.serviceCores = 5; entry.limit = 6
        entry.demand = 7; entry.reads = 8; entry.writes = 9; entry.others = 10; entry.readBytes = 11; entry.writeBytes = 12
        entry.windowRequests = 13; entry.windowArrivals = 14; entry.windowBytes = 15; entry.latency50 = 16; entry.latency90 = 17
        entry.latency99 = 18; entry.latencyMax = 19; entry.depth = 20; entry.depthMax = 21; entry.depthMean = 22; entry.sequential = 23
        entry.distinctPages = 24; entry.dirtyPages = 25; entry.processorPermille = 26; entry.memoryKiB = 27
        entry.networkKiBPerSecond = 28; entry.logRecords = 29; entry.logLost = 30
        #expect(encoded(entry) == layout(128, [
            (0, 1, 1), (1, 1, 2), (2, 2, 3), (4, 2, 4), (6, 1, 5), (8, 4, 6), (12, 4, 7), (16, 8, 8), (24, 8, 9), (32, 8, 10), (40, 8, 11),
            (48, 8, 12), (56, 4, 13), (60, 4, 14), (64, 4, 15), (68, 1, 16), (69, 1, 17), (70, 1, 18), (71, 1, 19), (72, 2, 20),
            (74, 2, 21),
            (76, 4, 22), (80, 4, 23), (84, 4, 24), (88, 4, 25), (92, 4, 26), (96, 4, 27), (100, 4, 28), (104, 4, 29), (108, 4, 30),
        ]))
        var header = StatisticsHeader()
        header.firstOwner = 1; header.entries = 2; header.window = 3; header.generation = 4; header.windowStart = 5; header.windowEnd = 6
        header.decisionsTaken = 7; header.decisionsLeft = 8; header.policy = 9; header.busyPermille = 10; header.eventsDropped = 11
        header.busyCycles = 12; header.cycle = 13
        #expect(encoded(header) == layout(64, [
            (0, 2, 1), (2, 2, 128), (4, 2, 1), (6, 2, 2), (8, 4, 3), (12, 4, 4), (16, 8, 5), (24, 8, 6), (32, 4, 7), (36, 4, 8), (40, 2, 9),
            (42, 2, 10), (44, 4, 11), (48, 8, 12), (56, 8, 13),
        ]))
        #expect(encoded(DeviceEvent(.logOverflow, owner: 9, severity: .warning, sequence: 2, cycle: 3, 4, 5))
            == layout(32, [(0, 2, 5), (2, 1, 9), (3, 1, 1), (4, 4, 2), (8, 8, 3), (16, 8, 4), (24, 8, 5)]))
    }
}

@Suite struct OpcodeTests {
    @Test func theListHasExactlyTheOpcodes() {
        let list = OpcodeList.all
        for number in UInt16(0)...300 {
            #expect(list.contains(number) == (AdminOpcode(rawValue: number) != nil), "opcode \(number)")
        }
        #expect(decoded(encoded(list)) == list)
    }

    @Test func groupsAndSizesAreAsDocumented() {
        let opcodes = (UInt16(0)...300).compactMap(AdminOpcode.init(rawValue:))
        #expect(opcodes.filter { $0.accepts(.virtualFunction) }
            == [
                .reportBaseline, .getAllocation, .setAllocation, .releaseAllocation, .getTerms, .setTerms, .startLog, .stopLog,
                .harvestLog, .getLatency, .migrateComponent, .getComponent, .setKey,
            ])
        #expect(opcodes.filter { !$0.accepts(.device) } == [.startLog, .stopLog, .harvestLog, .migrateComponent, .getComponent, .setKey])
        #expect(AdminOpcode.startLog.dataByteCount == 32 && AdminOpcode.startLog.resultByteCount == 48)
        #expect(AdminOpcode.getLatency.dataByteCount == 0 && AdminOpcode.getLatency.resultByteCount == 256)
        #expect(AdminOpcode.getAnalysis.dataByteCount == 8 && AdminOpcode.getAnalysis.resultByteCount == 32)
        #expect(AdminOpcode.getStatistics.dataByteCount == 8 && AdminOpcode.getStatistics.resultByteCount == 64)
    }
}
