import Registers
import Testing
import Tracing

/// Events none of which begins before the one before it has come back, so that every value can be seen.
private func makeSpacedEvents(seed: UInt64, count: Int) -> [AccessEvent] {
    var time: UInt64 = 1000
    return makeEvents(seed: seed, count: count).map { event in
        var event = event
        event.time = time
        time += max(event.wait, 1) + 1 + event.time % 3
        if case .register(0, _, _) = event.target {
            event.old &= 0xffff_ffff
            event.new &= 0xffff_ffff
        }
        return event
    }
}

/// A value change dump by the grammar of IEEE 1364-2005, section 18.2: anything else is an error.
private struct ParsedVCD {
    struct Mistake: Error { let text: String }

    var timescale = ""
    /// By full name, `device.TIMER.CTRL.mode`: identifier code and width.
    var variables: [String: (code: String, width: Int)] = [:]
    /// Codes of variables that have no value but moments.
    var events: Set<String> = []
    /// By identifier code, in the order of time; nil is x.
    var changes: [String: [(time: UInt64, value: UInt64?)]] = [:]

    init(_ text: String) throws {
        var words = text.split(whereSeparator: \.isWhitespace)[...]
        var scopes: [Substring] = [], time: UInt64?, widths: [String: Int] = [:], isDeclaring = true, isDumping = false
        func next() throws -> Substring {
            guard let word = words.popFirst() else { throw Mistake(text: "ends early") }
            return word
        }
        func section() throws -> [Substring] {
            var body: [Substring] = []
            while case let word = try next(), word != "$end" { body.append(word) }
            return body
        }
        while let word = words.popFirst() {
            switch word {
            case "$version": _ = try section()
            case "$timescale": timescale = try section().joined(separator: " ")
            case "$scope":
                let body = try section()
                guard body.count == 2, body[0] == "module", body[1].wholeMatch(of: /[A-Za-z_][A-Za-z0-9_$]*/) != nil else {
                    throw Mistake(text: "scope \(body)")
                }
                scopes.append(body[1])
            case "$upscope":
                guard try section().isEmpty, scopes.popLast() != nil else { throw Mistake(text: "upscope") }
            case "$var":
                let body = try section()
                guard body.count == 4 || body.count == 5, body[0] == "reg" || body[0] == "event", let width = Int(body[1]), width > 0,
                    body[3].wholeMatch(of: /[A-Za-z_][A-Za-z0-9_$]*/) != nil, (width == 1) == (body.count == 4),
                    width == 1 || body[4] == "[\(width - 1):0]", widths.updateValue(width, forKey: String(body[2])) == nil,
                    variables.updateValue((String(body[2]), width), forKey: (scopes + [body[3]]).joined(separator: ".")) == nil
                else { throw Mistake(text: "var \(body)") }
                if body[0] == "event" { events.insert(String(body[2])) }
            case "$enddefinitions":
                guard try section().isEmpty, scopes.isEmpty else { throw Mistake(text: "open scopes: \(scopes)") }
                isDeclaring = false
            case "$dumpvars": isDumping = true
            case "$end":
                guard isDumping, changes.count + events.count == widths.count else { throw Mistake(text: "dumpvars lacks signals") }
                isDumping = false
            case _ where isDeclaring: throw Mistake(text: "'\(word)' among declarations")
            case _ where word.first == "#":
                guard let now = UInt64(word.dropFirst()), time.map({ $0 < now }) ?? true else { throw Mistake(text: "time \(word)") }
                time = now
            default:
                let isVector = word.first == "b"
                let digits = isVector ? word.dropFirst() : word.prefix(1)
                let code = String(isVector ? try next() : word.dropFirst())
                guard let time, let width = widths[code], digits == "x" || UInt64(digits, radix: 2) != nil, digits.count <= width,
                    isVector == (width > 1), code.utf8.allSatisfy({ (33...126).contains($0) })
                else { throw Mistake(text: "value \(word) \(code)") }
                changes[code, default: []].append((time, UInt64(digits, radix: 2)))
            }
        }
    }

    func value(_ name: String, at time: UInt64) throws -> UInt64? {
        let variable = try #require(variables[name], "\(name)")
        return changes[variable.code]?.last { $0.time <= time }?.value
    }
}

@Suite struct VCDTests {
    private func export(_ accesses: [AccessEvent], frequency: UInt64 = 1_000_000_000) throws -> String {
        try export(accesses.map { .access($0) }, frequency: frequency)
    }

    private func export(_ events: [TraceEvent], frequency: UInt64 = 1_000_000_000) throws -> String {
        var export = VCDExport(try makeDecoder(), frequency: frequency)
        for event in events { export.declare(event) }
        export.begin()
        var bytes = export.takeOutput()
        for event in events { export.add(event) }
        export.finish()
        bytes += export.takeOutput()
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test(arguments: 1...10 as ClosedRange<UInt64>)
    func signalsHaveTheValuesThatAccessesSaw(seed: UInt64) throws {
        let events = makeSpacedEvents(seed: seed, count: 200)
        let dump = try ParsedVCD(try export(events))
        #expect(dump.timescale == "1 ns")
        for event in events {
            guard case .register(let number, let element, _) = event.target else { continue }
            for (time, value) in [(event.time, event.old), (event.time + max(event.wait, 1), event.new)] {
                if number == 0 {
                    #expect(try dump.value("device.TIMER.CTRL.CTRL", at: time) == value, "seed \(seed)")
                    #expect(try dump.value("device.TIMER.CTRL.enable", at: time) == value & 1)
                    #expect(try dump.value("device.TIMER.CTRL.mode", at: time) == value >> 4 & 3)
                } else {
                    #expect(try dump.value("device.TIMER.VM_\(element)_COUNT.VM_\(element)_COUNT", at: time) == value, "seed \(seed)")
                }
            }
        }
    }

    @Test func aSignalIsUnknownUntilItsFirstAccess() throws {
        let events = makeSpacedEvents(seed: 3, count: 100).filter { if case .register = $0.target { true } else { false } }
        let other = try #require(events.first { $0.target != events[0].target })
        guard case .register(let number, let element, _) = other.target else { return }
        let name = number == 0 ? "device.TIMER.CTRL.CTRL" : "device.TIMER.VM_\(element)_COUNT.VM_\(element)_COUNT"
        let dump = try ParsedVCD(try export(events))
        #expect(try dump.value(name, at: other.time - 1) == nil)
        #expect(try dump.value(name, at: other.time) == other.old)
    }

    @Test func onlyWhatIsAccessedIsDeclared() throws {
        let events = makeSpacedEvents(seed: 3, count: 100).filter { $0.target == .register(1, element: 2, byte: 0) }
        let dump = try ParsedVCD(try export(events))
        #expect(dump.variables.keys.sorted() == ["device.TIMER.VM_2_COUNT.VM_2_COUNT", "device.TIMER.VM_2_COUNT.value"])
        #expect(try ParsedVCD(try export([] as [TraceEvent])).variables.isEmpty)
    }

    @Test func linesVectorsTrapsAndDepthsAreSignals() throws {
        let dump = try ParsedVCD(try export(makeEveryKind()))
        func changes(_ name: String) throws -> [String] {
            let variable = try #require(dump.variables[name], "\(name) of \(dump.variables.keys.sorted())")
            return (dump.changes[variable.code] ?? []).map { "\($0.time):\($0.value.map { String($0, radix: 16) } ?? "x")" }
        }
        #expect(try changes("device.interrupts.PLIC.TIMER") == ["101:0", "102:1", "120:0"])
        #expect(try changes("device.interrupts.hart0.external") == ["101:0", "103:1"])
        #expect(try changes("device.interrupts.fn2.vector1") == ["114:1"])
        #expect(try changes("device.interrupts.fn64.INTx") == ["101:0", "115:1"])
        #expect(try changes("device.hart0.mcause") == ["101:x", "104:8000000b"])
        #expect(try changes("device.hart0.mepc") == ["101:x", "104:80000010"])
        #expect(try changes("device.queues.fn2.queue1_depth") == ["101:x", "106:0", "108:1", "109:2", "112:1"])
        #expect(dump.events.count == 1)
    }

    @Test(arguments: [
        (1_000_000_000, "1 ns", 1), (100_000_000, "10 ns", 1), (250_000_000, "1 ns", 4), (400_000_000, "100 ps", 25), (1, "1 s", 1),
        (300_000_000, "1 ns", 1),
    ] as [(UInt64, String, UInt64)])
    func timescales(frequency: UInt64, unit: String, multiplier: UInt64) throws {
        let events = [makeSpacedEvents(seed: 1, count: 1)[0]]
        let text = try export(events, frequency: frequency)
        #expect(try ParsedVCD(text).timescale == unit)
        #expect(text.contains("#\(1000 * multiplier)\n"))
    }
}

/// A message in the wire format of Protocol Buffers, taken apart.
private struct Message {
    struct Mistake: Error {}
    var numbers: [Int: [UInt64]] = [:]
    var blobs: [Int: [ArraySlice<UInt8>]] = [:]

    init(_ bytes: ArraySlice<UInt8>) throws {
        var rest = bytes
        func varint() throws -> UInt64 {
            var value: UInt64 = 0
            for shift in stride(from: 0, to: 64, by: 7) {
                guard let byte = rest.popFirst() else { throw Mistake() }
                value |= UInt64(byte & 0x7f) << UInt64(shift)
                if byte & 0x80 == 0 { return value }
            }
            throw Mistake()
        }
        while !rest.isEmpty {
            let tag = try varint()
            switch tag & 7 {
            case 0: numbers[Int(tag >> 3), default: []].append(try varint())
            case 2:
                let count = Int(try varint())
                guard count <= rest.count else { throw Mistake() }
                blobs[Int(tag >> 3), default: []].append(rest.prefix(count))
                rest = rest.dropFirst(count)
            default: throw Mistake()
            }
        }
    }

    func number(_ field: Int) -> UInt64? { numbers[field]?.last }
    func text(_ field: Int) -> String? { blobs[field]?.last.map { String(decoding: $0, as: UTF8.self) } }
    func messages(_ field: Int) throws -> [Message] { try (blobs[field] ?? []).map { try Message($0) } }
}

@Suite struct PerfettoTests {
    @Test(arguments: 1...5 as ClosedRange<UInt64>)
    func everyAccessIsASliceOfItsInitiatorAndAnInstantOfItsBlock(seed: UInt64) throws {
        // At half a gigahertz, a cycle is two nanoseconds.
        let decoder = try makeDecoder(), events = makeEvents(seed: seed, count: 500)
        var export = PerfettoExport(decoder, frequency: 500_000_000)
        for event in events { export.add(.access(event)) }
        export.finish()
        let packets = try Message(export.takeOutput()[...]).messages(1)
        #expect(packets.allSatisfy { $0.number(10) == 1 })

        var names: [UInt64: String] = [:], parents: [String: UInt64] = [:]
        var open: [UInt64: (name: String, start: UInt64, annotations: [Message])] = [:], instants = 0
        var slices: [String: [(name: String, start: UInt64, end: UInt64, annotations: [Message])]] = [:]
        for packet in packets {
            for track in try packet.messages(60) {
                let uuid = try #require(track.number(1))
                names[uuid] = track.text(2)
                parents[track.text(2) ?? ""] = track.number(5)
            }
            for event in try packet.messages(11) {
                let track = try #require(event.number(11))
                let time = try #require(packet.number(8))
                // Tracks are described before their events.
                let trackName = try #require(names[track])
                // What the hart executed has slices of its own.
                if event.text(22) == "function" || trackName == "hart0 functions" { continue }
                switch event.number(9) {
                case 1:
                    #expect(open[track] == nil)
                    open[track] = (event.text(23) ?? "", time, try event.messages(4))
                case 2:
                    let ended = open.removeValue(forKey: track)
                    let slice = try #require(ended)
                    #expect(time >= slice.start)
                    slices[trackName, default: []].append((slice.name, slice.start, time, slice.annotations))
                case 3:
                    #expect(trackName == "TIMER")
                    instants += 1
                default: Issue.record("type \(String(describing: event.number(9)))")
                }
            }
        }
        #expect(open.isEmpty)
        #expect(parents["hart0"].flatMap { names[$0] } == "initiators" && parents["TIMER"].flatMap { names[$0] } == "blocks")
        #expect(instants == events.count { if case .register = $0.target { true } else { false } })
        for initiator in Set(events.map { "\($0.initiator)" }) {
            let own = events.filter { "\($0.initiator)" == initiator }, found = try #require(slices[initiator])
            #expect(found.count == own.count)
            for (index, (slice, event)) in zip(found, own).enumerated() {
                #expect(slice.start == event.time * 2)
                let next = index + 1 < own.count ? own[index + 1].time : .max
                #expect(slice.end == min(event.time + event.wait, next) * 2)
                let new = slice.annotations.first { $0.text(10) == "new" }
                #expect(new?.number(7) == event.new)
                #expect(slice.annotations.first { $0.text(10) == "status" }?.text(6) == "\(event.status)")
            }
        }
    }

    @Test func everyClassHasItsTracks() throws {
        var export = PerfettoExport(try makeDecoder(), frequency: 1_000_000_000)
        for event in makeEveryKind() { export.add(event) }
        export.finish()
        var paths: [UInt64: String] = [:], lines: [String] = []
        for packet in try Message(export.takeOutput()[...]).messages(1) {
            for track in try packet.messages(60) {
                let name = try #require(track.text(2)), uuid = try #require(track.number(1))
                paths[uuid] = (track.number(5).flatMap { paths[$0] }.map { $0 + "/" } ?? "") + name
                #expect(track.blobs[8] == nil || name == "depth")
            }
            for event in try packet.messages(11) {
                let path = try #require(event.number(11).flatMap { paths[$0] }), time = try #require(packet.number(8))
                let what = switch event.number(9) {
                case 1: "begin \(event.text(23) ?? "")"
                case 2: "end"
                case 3: "at \(event.text(23) ?? "")"
                default: "= \(event.number(30).map(String.init) ?? "")"
                }
                lines.append("\(time) \(path) \(what)")
            }
        }
        let expected = [
            "102 interrupts/PLIC.TIMER begin PLIC.TIMER", "120 interrupts/PLIC.TIMER end",
            "103 interrupts/hart0.external begin hart0.external",
            "120 interrupts/hart0.external end", "104 initiators/hart0 at external", "114 interrupts/fn2.messages at vector 1",
            "115 interrupts/fn64.INTx begin INTx", "120 interrupts/fn64.INTx end",
            "106 queues/fn2 queue 1 at doorbell", "108 queues/fn2 queue 1/requests begin request 5", "108 queues/fn2 queue 1/depth = 1",
            "109 queues/fn2 queue 1/requests begin request 6", "112 queues/fn2 queue 1/requests end", "120 queues/fn2 queue 1/requests end",
            "107 DMA/dma2 at read", "110 DMA/dma2 at write", "111 faults/dma2 at iommu", "117 faults/hart0 at bus",
            "118 firmware/console at ready \u{1b}[31m\"quoted\"\u{202e}", "119 firmware/records at boot",
            "101 firmware/hart0 functions begin Timer.start(_:)", "104 firmware/hart0 functions end",
            "104 firmware/hart0 functions begin main",
            "120 firmware/hart0 functions end",
        ]
        for line in expected { #expect(lines.contains(line), "\(line) in \(lines)") }
    }
}
