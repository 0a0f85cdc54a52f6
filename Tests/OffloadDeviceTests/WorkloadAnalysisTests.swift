import AdminProtocol
import OffloadDevice
import Simulation
import Testing

/// The firmware's analysis of what virtual machines do, on the whole device.
@Suite(.enabled(if: FirmwareRig.isBuilt, "tools/firmware builds the firmware")) struct WorkloadAnalysisTests {
    /// Windows as short as may be, and the fewest in an interval: 5 ms of device time.
    private func shorten(_ rig: FirmwareRig) {
        for (feature, value) in [(Feature.samplingWindow, 50_000), (.analysisInterval, 100)] as [(Feature, UInt64)] {
            var setting = FeatureValue()
            (setting.feature, setting.value) = (feature.rawValue, value)
            #expect(rig.send(AdminCommand(.setFeature), FirmwareRig.bytes(setting)).status == 0)
        }
    }

    private func entry(_ rig: FirmwareRig, _ owner: Int) -> AnalysisEntry {
        rig.send(AdminCommand(.getAnalysis), FirmwareRig.bytes(StatisticsRequest()))
        return rig.result(AnalysisEntry.self, at: AnalysisHeader.byteCount + owner * AnalysisEntry.byteCount)
    }

    enum Injection: UInt8, CaseIterable { case cores = 1, linkToDevice, medium, linkToHost, memory }

    /// Twenty virtual machines, each with requests of its own seed, on a device that lacks one thing: what it is, is named.
    @Test(arguments: Injection.allCases) func injectedBottlenecksAreNamed(injection: Injection) throws {
        var description = MachineDescription()
        description.link.bandwidth = 16_000_000_000
        description.medium.bandwidth = 16_000_000_000
        description.virtualFunctions.enabled = 20
        switch injection {
        case .cores: (description.service.cores, description.service.cost) = (1, 100_000)
        case .linkToDevice, .linkToHost: description.link.bandwidth = 100_000_000
        case .medium: description.medium.bandwidth = 20_000_000
        case .memory: (description.link.bandwidth, description.medium.bandwidth) = (500_000_000_000, 500_000_000_000)
        }
        let rig = try FirmwareRig(description)
        rig.bringUp()
        shorten(rig)
        var drivers = (1...20).map { BlockDriver(rig.machine, function: $0, offset: $0 << 20) }
        if injection == .memory {
            for owner in 1...20 {
                var allocation = Allocation()
                allocation.firstMemoryBlock = UInt16(100 + owner)
                allocation.memoryBlocks = 1
                let command = AdminCommand(.setAllocation, group: .virtualFunction, member: UInt64(owner))
                #expect(rig.send(command, FirmwareRig.bytes(allocation)).status == 0)
            }
        }
        var random = SplitMix64(seed: UInt64(injection.rawValue))
        let shapes = drivers.map { _ in
            // Sizes and depths of its own; what goes the other way is little.
            (bytes: injection == .memory ? 0x1_8000 : 4096 << Int(random.next() % 3), depth: 2 + Int(random.next() % 6))
        }
        for _ in 0..<400 {
            for index in drivers.indices where drivers[index].completed == drivers[index].submitted {
                for _ in 0..<shapes[index].depth {
                    let type: UInt32 = injection == .linkToDevice ? 1 : 0
                    drivers[index].submit(type: type, sector: random.next() % 100_000 * 8, count: shapes[index].bytes)
                }
            }
            rig.machine.advance(by: 50_000)
        }
        let found = (1...20).map { entry(rig, $0) }
        #expect(found.allSatisfy { $0.intervals > 0 })
        let right = found.filter { $0.bottleneck == injection.rawValue }.count
        print("\(injection): \(right) of 20 right, found \(found.map(\.bottleneck))")
        #expect(right >= 18)
    }

    @Test func demandIsForecastAndShown() throws {
        let rig = try FirmwareRig()
        rig.bringUp()
        shorten(rig)
        for _ in 0..<30 { rig.load(windows: 5, [(3, 40, 8192)]) }
        rig.send(AdminCommand(.getAnalysis), FirmwareRig.bytes(StatisticsRequest()))
        let header = rig.result(AnalysisHeader.self)
        #expect(header.entries == 65 && header.interval == 5000 && header.longIntervals == 10 && header.predictors == 127)
        #expect((28...32).contains(header.intervals))
        let entry = entry(rig, 3)
        #expect((26...31).contains(entry.intervals) && entry.flags & AnalysisEntry.established != 0 && entry.anomalies == 0)
        // Five windows of load in an interval, 40 requests of 8 KiB in each; levels are log2(1 + n) in 1/2048.
        #expect((15_500...15_800).contains(entry.requests.latest) && entry.requests.expected == entry.requests.latest)
        #expect(entry.requests.low <= entry.requests.expected && entry.requests.expected <= entry.requests.high)
        #expect(entry.requests.high &- entry.requests.low <= 2048, "a load that is always the same")
        #expect(entry.readBytes.expected > 17_000 && entry.writtenBytes.expected == 0)
        #expect(entry.requests.longLatest > entry.requests.latest + 3 * 2048)
        #expect(entry.pattern == 1, "sequential")
        #expect(rig.result(AnalysisEntry.self, at: AnalysisHeader.byteCount + 4 * AnalysisEntry.byteCount).intervals == 0)
    }

    /// What a forecast costs when the whole past is there: one owner, 170 intervals.
    @Test func aForecastKeepsToItsBudget() throws {
        let rig = try FirmwareRig()
        rig.bringUp()
        shorten(rig)
        for number in 0..<170 { rig.load(windows: 5, [(3, 10 + number * number % 37, 8192)]) }
        let intervals = entry(rig, 3).intervals
        #expect(intervals >= 160)
        let dearest = try rig.counter(14), forecast = try rig.counter(15) / intervals
        print("forecast of three metrics: \(forecast) cycles on average; dearest analysis with all: \(dearest)")
        #expect(forecast < 6_000 && dearest < 10_000)
    }

    @Test func settingsAreCheckedAndTakeEffect() throws {
        let rig = try FirmwareRig()
        rig.bringUp()
        func set(_ feature: Feature, _ value: UInt64) -> UInt16 {
            var setting = FeatureValue()
            (setting.feature, setting.value) = (feature.rawValue, value)
            return rig.send(AdminCommand(.setFeature), FirmwareRig.bytes(setting)).status
        }
        func get(_ feature: Feature) -> UInt64 {
            var select = FeatureSelect()
            select.feature = feature.rawValue
            rig.send(AdminCommand(.getFeature), FirmwareRig.bytes(select))
            return rig.result(FeatureValue.self).value
        }
        #expect(get(.predictors) == 127 && get(.analysisInterval) == 1000)
        for (feature, value) in [(Feature.predictors, 128), (.analysisInterval, 99), (.analysisInterval, 100_001)] as [(Feature, UInt64)] {
            #expect(set(feature, value) == AdminStatus.invalid.rawValue, "\(feature) \(value)")
        }
        #expect(set(.predictors, 0) == 0 && set(.analysisInterval, 100_000) == 0)
        #expect(get(.predictors) == 0 && get(.analysisInterval) == 100_000)
    }
}
