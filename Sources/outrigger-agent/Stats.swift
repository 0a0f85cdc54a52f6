import AdminProtocol
import ArgumentParser
import HostAgent
import Presentation

/// The statistics page as a table.
struct StatisticsTable {
    let clock: UInt32
    let bandwidth: UInt32

    static let header =
        "owner".column(7) + "share".column(8, right: true) + "limit".column(8, right: true) + "cores".column(7, right: true)
        + "demand".column(10, right: true) + "reads".column(10, right: true) + "writes".column(10, right: true)
        + "read".column(11, right: true) + "written".column(11, right: true) + "rate".column(11, right: true)
        + "p50".column(10, right: true) + "p99".column(10, right: true) + "depth".column(7, right: true)

    func row(_ entry: StatisticsEntry, windowCycles: UInt64) -> String {
        let name = OwnerFigures.name(entry.owner)
        let rate = windowCycles == 0 ? 0 : Double(entry.windowBytes) * Double(clock) / Double(windowCycles)
        return name.column(7) + (decimal(Double(entry.guaranteePermille) / 10, 1) + "%").column(8, right: true)
            + (entry.limit == 0 ? "-" : "\(entry.limit)").column(8, right: true)
            + (entry.serviceCores == 0 ? "-" : "\(entry.serviceCores)").column(7, right: true)
            + "\(entry.demand) MB/s".column(10, right: true) + "\(entry.reads)".column(10, right: true)
            + "\(entry.writes)".column(10, right: true) + bytes(entry.readBytes).column(11, right: true)
            + bytes(entry.writeBytes).column(11, right: true) + (bytes(UInt64(rate)) + "/s").column(11, right: true)
            + bucket(entry.latency50, clock: clock).column(10, right: true) + bucket(entry.latency99, clock: clock).column(10, right: true)
            + "\(entry.depth)".column(7, right: true)
    }

    func lines(_ header: StatisticsHeader, _ entries: [StatisticsEntry], all: Bool) -> [String] {
        let cycles = header.windowEnd &- min(header.windowEnd, header.windowStart)
        let shown = entries.filter { all || $0.reads + $0.writes + $0.others > 0 || $0.guaranteePermille > 0 || $0.flags != 0 }
        return [
            "cycle \(header.cycle)  window \(header.window) of \(cycles) cycles  partition table \(header.generation)  "
                + "decisions \(header.decisionsTaken) taken, \(header.decisionsLeft) left  "
                + "firmware busy \(decimal(Double(header.busyPermille) / 10, 1))%",
            Self.header,
        ] + shown.map { row($0, windowCycles: cycles) }
    }
}

struct Stats: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "The device's statistics page: what each owner does and has.")

    @OptionGroup var device: DeviceOption

    @Flag(help: "Show owners that never did anything too.")
    var all = false

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let client = try device.client()
        let identity = try client.identify()
        let (header, entries) = try client.statistics(owners: 1 + Int(identity.virtualFunctions))
        if json {
            let owners = entries.map { entry in
                """
                {"owner":\(entry.owner),"guarantee_permille":\(entry.guaranteePermille),"weight":\(entry.weight),"limit":\(entry.limit),\
                "service_cores":\(entry.serviceCores),"demand":\(entry.demand),"reads":\(entry.reads),"writes":\(entry.writes),\
                "others":\(entry.others),"read_bytes":\(entry.readBytes),"written_bytes":\(entry.writeBytes),\
                "window_requests":\(entry.windowRequests),"window_bytes":\(entry.windowBytes),"latency_log2":{"p50":\(entry.latency50),\
                "p90":\(entry.latency90),"p99":\(entry.latency99),"max":\(entry.latencyMax)},"depth":\(entry.depth)}
                """
            }
            return print("""
                {"cycle":\(header.cycle),"window":\(header.window),"generation":\(header.generation),\
                "decisions_taken":\(header.decisionsTaken),"decisions_left":\(header.decisionsLeft),\
                "busy_permille":\(header.busyPermille),"owners":[\(owners.joined(separator: ","))]}
                """)
        }
        let table = StatisticsTable(clock: identity.clockHertz, bandwidth: identity.linkBandwidth)
        for line in table.lines(header, entries, all: all) { print(line) }
    }
}
