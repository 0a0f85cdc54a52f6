import FirmwareInfo
import Glibc
import Presentation

/// The view of the emulator. All figures are those between the last two looks.
struct TopPage: LivePage {
    private let mount: String
    private let live: LiveFirmware
    private let profile: TaskProfile?
    private let interval: Double
    private var before: EmulatorLook?
    private var now: EmulatorLook?

    init(_ mount: String, _ live: LiveFirmware, _ profile: TaskProfile?, interval: Double) {
        self.mount = mount; self.live = live; self.profile = profile; self.interval = interval
    }

    mutating func refresh() throws {
        if now == nil {
            now = try EmulatorLook(live, profile)
            usleep(UInt32(interval * 1e6))
        }
        before = now
        now = try EmulatorLook(live, profile)
    }

    mutating func press(_ key: Terminal.Key) {}

    // MARK: Figures

    private func gain(_ name: String, _ labels: [String: String] = [:]) -> Double {
        guard let before, let now else { return 0 }
        return max(now.value(name, labels) - before.value(name, labels), 0)
    }

    private var wallSeconds: Double {
        guard let before, let now else { return 0 }
        return Double(now.wall - before.wall) / 1e9
    }

    private var cycles: Double { gain("device_cycles_total") }
    private var clock: Double { max(now?.value("clock_hertz") ?? 1, 1) }
    private var deviceSeconds: Double { cycles / clock }

    private func perSecond(_ amount: Double) -> Double { wallSeconds > 0 ? amount / wallSeconds : 0 }

    private var harts: [String] { (now?.family("instructions_total") ?? []).compactMap { $0.labels["hart"] } }

    /// Of functions that are accessed, by BAR; accesses in a second of the wall clock.
    private var bars: [(function: String, bar: String, reads: Double, writes: Double)] {
        (now?.family("host_accesses_total") ?? []).filter { $0.labels["operation"] == "read" }.map { sample in
            let (function, bar) = (sample.labels["function"] ?? "", sample.labels["bar"] ?? "")
            func rate(_ operation: String) -> Double {
                perSecond(gain("host_accesses_total", ["function": function, "bar": bar, "operation": operation]))
            }
            return (function, bar, rate("read"), rate("write"))
        }
    }

    /// Busy part of device time, 0...1.
    private var resources: [(name: String, units: Double, busy: Double)] {
        (now?.family("resource_busy_cycles_total") ?? []).map { sample in
            let name = sample.labels["resource"] ?? ""
            let units = max(now?.value("resource_units", ["resource": name]) ?? 1, 1)
            return (name, units, cycles > 0 ? min(gain("resource_busy_cycles_total", ["resource": name]) / cycles / units, 1) : 0)
        }
    }

    /// The firmware's cycles by task, most first; without those in which it waited.
    private var tasks: [(name: String, cycles: UInt64)] {
        guard let later = now?.tasks, let earlier = before?.tasks else { return [] }
        return later.filter { $0.key != Profile.waiting }.map { ($0.key, $0.value - min(earlier[$0.key] ?? 0, $0.value)) }
            .filter { $0.cycles > 0 }.sorted { ($1.cycles, $0.name) < ($0.cycles, $1.name) }
    }

    // MARK: Text

    func lines(width: Int?, height: Int?, style: TextStyle) -> [String] {
        guard let now else { return [] }
        func fit(_ text: String) -> String { text.cut(width ?? text.count) }
        let ratio = perSecond(deviceSeconds)
        let total = duration(now.value("device_cycles_total") / clock * 1e9)
        var lines = [style.title(fit("\(mount)  \(now.pace)  device time \(total)  \(decimal(ratio, 3)) s/s"))]
        lines.append(fit(harts.map { hart in
            "hart \(hart) \(decimal(perSecond(gain("instructions_total", ["hart": hart])) / 1e6, 2)) MIPS"
        }.joined(separator: "  ") + "  interrupts \(short(perSecond(sum("interrupts_total"))))/s"))
        lines.append(fit("busy: " + resources.map { "\($0.name) \(decimal($0.busy * 100, 1))%" }.joined(separator: "  ")))

        // Both tables get half of what there is.
        let room = height.map { max($0 - lines.count - 2, 2) }
        let access = accessLines(width, rows: room.map { $0 / 2 }, style)
        lines += access
        lines += taskLines(width, rows: room.map { $0 - access.count }, style)
        return lines
    }

    private func sum(_ name: String) -> Double {
        guard let before, let now else { return 0 }
        return max(now.family(name).reduce(0) { $0 + $1.value } - before.family(name).reduce(0) { $0 + $1.value }, 0)
    }

    private func accessLines(_ width: Int?, rows: Int?, _ style: TextStyle) -> [String] {
        let columns: [Table.Column] = [.init("function", 12, right: false), .init("BAR", 3), .init("reads/s", 8), .init("writes/s", 8)]
        let table = Table(columns, width: width)
        let busiest = bars.sorted { $0.reads + $0.writes > $1.reads + $1.writes }.prefix(rows.map { max($0 - 1, 0) } ?? .max)
        return [style.bold(table.heading)] + busiest.map { table.line([$0.function, $0.bar, short($0.reads), short($0.writes)]) }
    }

    private func taskLines(_ width: Int?, rows: Int?, _ style: TextStyle) -> [String] {
        let table = Table([.init("firmware's task", 28, right: false), .init("cycles", 9), .init("of time", 8)], width: width)
        guard before?.tasks != nil else {
            return [style.quiet("no tasks: another firmware is loaded than --firmware names".cut(width ?? 60))]
        }
        let shown = tasks.prefix(rows.map { max($0 - 1, 0) } ?? .max)
        return [style.bold(table.heading)] + shown.map { task in
            table.line([task.name, "\(task.cycles)", cycles > 0 ? decimal(Double(task.cycles) / cycles * 100, 2) + "%" : "-"])
        }
    }

    // MARK: JSON

    var json: JSON {
        .object([
            ("mount", .string(mount)), ("pace", .string(now?.pace ?? "")),
            ("cycle", .number(UInt64(now?.value("device_cycles_total") ?? 0))),
            ("wall_seconds", .real(wallSeconds)), ("device_seconds", .real(deviceSeconds)), ("cycles", .number(UInt64(cycles))),
            ("harts", .array(harts.map { hart in
                .object([("hart", .string(hart)), ("instructions", .number(UInt64(gain("instructions_total", ["hart": hart]))))])
            })),
            ("busy", .object(resources.map { ($0.name, .real($0.busy)) })),
            ("bars", .array(bars.map {
                .object([
                    ("function", .string($0.function)), ("bar", .string($0.bar)), ("reads_per_second", .real($0.reads)),
                    ("writes_per_second", .real($0.writes)),
                ])
            })),
            ("tasks", .object(tasks.map { ($0.name, .number($0.cycles)) })),
            ("waiting_cycles", .number(now?.tasks?[Profile.waiting].map { $0 - min(before?.tasks?[Profile.waiting] ?? 0, $0) } ?? 0)),
        ])
    }
}
