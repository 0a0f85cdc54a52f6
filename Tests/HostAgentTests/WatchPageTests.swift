import AdminProtocol
import HostAgent
import Presentation
import Testing

/// Looks at an imagined device.
private struct Device {
    var owners = 3
    var cycle: UInt64 = 1_000_000_000
    /// Requests of each owner since power-on, of 4 KiB each.
    var requests: UInt64 = 1000
    var share: UInt16 = 100
    var place: ComponentPlace = .device

    func look() -> Observation {
        var identity = Identity()
        identity.clockHertz = 1_000_000_000
        var header = StatisticsHeader()
        header.cycle = cycle
        header.decisionsTaken = 7
        header.decisionsLeft = 5
        var analysis = AnalysisHeader()
        analysis.interval = 500_000
        analysis.longIntervals = 10
        analysis.linkToHostPermille = 925
        var fair = PolicyEntry()
        fair.number = PolicyNumber.fair
        fair.flags = PolicyEntry.Flag.inForce
        var name = PolicyInstallation()
        name.setName("fair")
        fair.name = name.name
        return Observation(
            identity: identity, statistics: header, analysis: analysis, policies: [fair], owners: (0..<owners).map(owner))
    }

    private func owner(_ number: Int) -> Observation.Owner {
        var statistics = StatisticsEntry()
        statistics.owner = UInt8(number)
        statistics.reads = requests * UInt64(number)
        statistics.readBytes = 4096 * statistics.reads
        statistics.demand = 80
        var entry = AnalysisEntry()
        entry.owner = UInt8(number)
        entry.bottleneck = 4
        entry.linkToHostPermille = 840
        entry.flags = AnalysisEntry.ownShare
        entry.intervals = 20
        // 2^10 - 1 requests and 2^10 - 1 units of 4 KiB.
        entry.requests.latest = 10 * 2048
        entry.requests.expected = 10 * 2048
        entry.readBytes.expected = 10 * 2048
        entry.readBytes.high = 11 * 2048
        var allocation = Allocation()
        allocation.guaranteePermille = share + UInt16(number)
        allocation.serviceCores = 2
        allocation.memoryBlocks = 16
        var component = ComponentStatus()
        (component.kind, component.state, component.location, component.doorbells) = (2, 1, place.rawValue, 1)
        component.moves = place == .host ? 1 : 0
        component.outcome = place == .host ? 1 : 0
        var latency = LatencyHistogram()
        latency.counts[16] = requests * 99 * UInt64(number)
        latency.counts[20] = requests * UInt64(number)
        return .init(statistics: statistics, analysis: entry, allocation: allocation, component: component, latency: latency)
    }
}

@Suite struct WatchPageTests {
    /// A page that looks at one device after the other.
    private func page(_ looks: [Device], order: WatchPage.Order = .owner, selected: Int? = nil) throws -> WatchPage {
        var rest = looks[...]
        var page = WatchPage(device: "0000:01:00.0", order: order, selected: selected) { (rest.popFirst() ?? looks.last!).look() }
        for _ in looks { try page.refresh() }
        return page
    }

    @Test func theFirstPageShowsRatesSincePowerOn() throws {
        let lines = try page([Device()]).lines(width: nil, height: nil, style: .plain)
        #expect(lines[0].hasPrefix("0000:01:00.0  1.00 s  policy fair  decisions 7 of 12 taken"))
        #expect(lines[1].contains("to host 92.5%"))
        let row = try #require(lines.first { $0.hasPrefix("vm2") })
        let words = row.split(separator: " ").map(String.init)
        // 2000 requests of 4 KiB in a second; the forecast is twice the interval's, which lasts half a second.
        #expect(words == [
            "vm2", "10.2%", "2", "16", "-", "device", "8.2M", "8.4M", "0..16.8M", "2.0k", "131.1", "us", "link", "to", "host", "84%", "own",
        ])
    }

    @Test func laterPagesShowWhatWasInBetween() throws {
        var second = Device()
        (second.cycle, second.requests) = (3_000_000_000, 5000)
        let lines = try page([Device(), second]).lines(width: nil, height: nil, style: .plain)
        let row = try #require(lines.first { $0.hasPrefix("vm1") })
        // 4000 requests in two seconds.
        #expect(row.contains(" 2.0k "))
        // A device that has been restarted counts from power-on again.
        var restarted = Device()
        (restarted.cycle, restarted.requests) = (500_000_000, 100)
        let again = try page([Device(), restarted]).lines(width: nil, height: nil, style: .plain)
        #expect(try #require(again.first { $0.hasPrefix("vm1") }).contains("  200 "))
    }

    @Test func itFitsAnyWindow() throws {
        var changed = Device()
        (changed.cycle, changed.share, changed.owners) = (2_000_000_000, 200, 65)
        let page = try page([Device(owners: 65), changed])
        for (width, height) in [(80, 24), (100, 30), (200, 60), (40, 10), (20, 5), (10, 3), (1, 1), (80, 4), (300, 100)] {
            let lines = page.lines(width: width, height: height, style: .plain)
            #expect(lines.count <= height, "\(width)x\(height)")
            #expect(lines.allSatisfy { $0.count <= width }, "\(width)x\(height)")
        }
        let usual = page.lines(width: 80, height: 24, style: .plain)
        #expect(usual.count == 24 && usual[3].hasPrefix("owner  share") && usual[3].contains("held up by"))
        #expect(usual.contains { $0.hasPrefix("-- host") } && usual[23].hasPrefix("q quit"))
        // All that was decided since the look before, and on what, as far as there is room.
        let high = page.lines(width: 120, height: 200, style: .plain)
        #expect(high.contains("     2.00 s  vm9 share 10.9% -> 20.9%: demand 80 MB/s, held up by link to host 84.0%".column(120)))
    }

    @Test func keysSortAndSelect() throws {
        var page = try page([Device()])
        func owners() -> [String] {
            let lines = page.lines(width: 80, height: 24, style: .plain).prefix { !$0.hasPrefix("--") }.dropFirst(4)
            return lines.map { String($0.prefix { $0 != " " }) }
        }
        #expect(owners() == ["host", "vm1", "vm2"])
        page.press(.character("s"))
        #expect(owners() == ["vm2", "vm1", "host"], "by share")
        page.press(.down)
        page.press(.down)
        page.press(.down)
        #expect(page.lines(width: 80, height: 24, style: .plain).contains { $0.hasPrefix("-- host") })
        page.press(.up)
        #expect(page.lines(width: 80, height: 24, style: .plain).contains { $0.hasPrefix("-- vm1") })
        // The selected owner is in sight however long the list is.
        var long = try self.page([Device(owners: 65)], selected: 50)
        long.press(.character("j"))
        #expect(long.lines(width: 80, height: 12, style: .plain).contains { $0.hasPrefix("vm51") })
    }

    @Test func coloursAreForTerminals() throws {
        let page = try page([Device()])
        #expect(page.lines(width: 80, height: 24, style: .plain).allSatisfy { !$0.contains("\u{1b}") })
        #expect(page.lines(width: 80, height: 24, style: .terminal).contains { $0.hasPrefix("\u{1b}[7m") })
    }

    @Test func movesAndPoliciesAreNoted() throws {
        let lines = try page([Device(), Device(cycle: 1_500_000_000, place: .host)]).lines(width: nil, height: nil, style: .plain)
        #expect(lines.contains("     1.50 s  vm1 component at host: move done"))
    }

    @Test func jsonHasAllOfIt() throws {
        let text = try page([Device()]).json.text
        for part in [
            #""policy":"fair""#, #""owner":"vm2""#, #""guarantee_permille":102"#, #""p99_cycles":131072"#, #""bottleneck":"link to host""#,
            #""link_to_host":840"#, #""requests":{"latest":1023.000,"expected":1023.000"#, #""at":"device""#, #""own_share":true"#,
        ] {
            #expect(text.contains(part), "\(part)")
        }
    }

    @Test func aDeviceWithoutAnalysisIsShown() throws {
        var observation = Device().look()
        observation.owners = observation.owners.map { .init(statistics: $0.statistics, allocation: $0.allocation) }
        observation.policies = []
        let still = observation
        var page = WatchPage(device: "d", order: .p99, selected: 1) { still }
        try page.refresh()
        let lines = page.lines(width: 80, height: 24, style: .plain)
        #expect(lines[0].contains("policy 0") && lines.contains { $0.hasPrefix("vm1") } && lines.contains { $0.hasPrefix("-- vm1") })
    }
}
