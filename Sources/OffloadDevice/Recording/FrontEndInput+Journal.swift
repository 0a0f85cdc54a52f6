import Virtio

// How what a front-end does is written down. Of its memory there is the size alone: what the device reads there is recorded as it is read.

extension FrontEndInput {
    private enum Code: UInt8 {
        case attach = 0, detach, accept, map, start, pause, stop, kick, writeConfiguration, reset
    }

    func encode(to encoder: inout JournalEncoder) {
        func begin(_ code: Code) { encoder.byte(code.rawValue) }
        switch self {
        case .attach: begin(.attach)
        case .detach: begin(.detach)
        case .accept(let features):
            begin(.accept)
            encoder.number(features.rawValue)
        case .map(let pieces):
            begin(.map)
            encoder.integer(pieces.count)
            for piece in pieces {
                encoder.integer(piece.slot)
                encoder.number(piece.address)
                encoder.number(piece.count)
            }
        case .start(let queue, let layout, let start):
            begin(.start)
            for value in [queue, Int(layout.size), Int(start.taken), Int(start.used), start.unfinished.count] { encoder.integer(value) }
            for head in start.unfinished { encoder.integer(Int(head)) }
            for address in [layout.descriptorArea, layout.driverArea, layout.deviceArea] { encoder.number(address) }
        case .pause(let queue):
            begin(.pause)
            encoder.integer(queue)
        case .stop(let queue):
            begin(.stop)
            encoder.integer(queue)
        case .kick(let queue):
            begin(.kick)
            encoder.integer(queue)
        case .writeConfiguration(let offset, let bytes):
            begin(.writeConfiguration)
            encoder.integer(offset)
            encoder.data(bytes)
        case .reset: begin(.reset)
        }
    }

    init(from decoder: inout JournalDecoder) throws(RecordingError) {
        let code = try decoder.byte()
        switch Code(rawValue: code) {
        case nil: throw decoder.error("expected a front-end's input, found code \(code)")
        case .attach: self = .attach
        case .detach: self = .detach
        case .accept: self = .accept(Features(rawValue: try decoder.number()))
        case .map:
            var pieces: [FrontEndMemory] = []
            for _ in 0..<(try decoder.integer(in: 0...255, "pieces of memory")) {
                let slot = try decoder.integer(in: 0...255, "slot")
                pieces.append(FrontEndMemory(slot: slot, address: try decoder.number(), count: try decoder.number(), pages: nil))
            }
            self = .map(pieces)
        case .start:
            let queue = try decoder.integer()
            func word() throws(RecordingError) -> UInt16 { UInt16(try decoder.integer(in: 0...0xffff, "16 bits")) }
            var layout = QueueLayout(size: try word())
            var start = QueueStart(taken: try word(), used: try word())
            for _ in 0..<(try decoder.integer(in: 0...0xffff, "chains")) { start.unfinished.append(try word()) }
            layout.descriptorArea = try decoder.number()
            layout.driverArea = try decoder.number()
            layout.deviceArea = try decoder.number()
            self = .start(queue: queue, layout, start)
        case .pause: self = .pause(queue: try decoder.integer())
        case .stop: self = .stop(queue: try decoder.integer())
        case .kick: self = .kick(queue: try decoder.integer())
        case .writeConfiguration: self = .writeConfiguration(offset: try decoder.integer(), try decoder.data())
        case .reset: self = .reset
        }
    }
}
