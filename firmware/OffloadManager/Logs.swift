import AdminProtocol
import Hardware
import PolicyEngine

/// Starts and stops the logging engine's logs. Each owner has a fixed place for its ring in the upper half of shared memory, so that
/// rings never overlap and nothing has to be allocated.
public struct Logs {
    /// Records for which every owner has room.
    static let ringRecords: UInt32 = 4096
    static let recordBytes: UInt32 = 32
    /// Where the tracked region begins if the host doesn't say: the start of host memory's I/O addresses.
    static let defaultRegion: UInt64 = 0x800_0000_0000
    static let defaultRegionPages: UInt32 = 65536

    private let engine: LOG
    private let memory: SharedMemory

    public init(_ engine: LOG, memory: SharedMemory) { self.engine = engine; self.memory = memory }

    public func enableInterrupts() { engine.intrEnable = .init(watermark: true, lost: true, error: true) }

    /// Bus address of an owner's ring.
    /// - Parameter owner: a virtual machine, 1...64.
    func ring(of owner: Int) -> UInt32 {
        let half = memory.byteCount / 2
        return memory.address &+ half &+ UInt32(truncatingIfNeeded: owner &- 1) &* (half / 64)
    }

    func start(_ request: LogRequest, of owner: Int) -> Answer {
        let log = engine.owner[owner]
        guard !log.status.active else { return Answer(.busy, .tryAgain) }
        let records = request.ringRecords == 0 ? Self.ringRecords : request.ringRecords
        let pageShift = request.pageShift == 0 ? 12 : UInt32(request.pageShift)
        let pages = request.regionPages == 0 ? Self.defaultRegionPages >> (min(max(pageShift, 12), 21) &- 12) : request.regionPages
        let region = request.regionPages == 0 ? Self.defaultRegion : request.regionAddress
        guard request.granularity <= 100, (12...21).contains(pageShift), pages <= 65536,
              records >= 16, records & (records &- 1) == 0, records <= 65536
        else { return Answer(.invalid, .field) }
        guard records <= Self.ringRecords, records &* Self.recordBytes <= memory.byteCount / 128 else { return Answer(.noMemory) }
        log.ringBase = .init(address: ring(of: owner))
        log.ringSize = .init(records: records)
        log.regionLo = .init(address: UInt32(truncatingIfNeeded: region))
        log.regionHi = .init(address: UInt32(truncatingIfNeeded: region >> 32))
        log.regionPages = .init(pages: pages)
        log.watermark = .init(records: request.watermark)
        log.write(LOG.OWNER.CONTROL(enable: true, granularity: UInt32(request.granularity), pageShift: pageShift))
        return log.status.error == .none ? Answer(.ok) : Answer(.invalid, .field)
    }

    func stop(of owner: Int) {
        let log = engine.owner[owner]
        let control = log.control
        log.write(LOG.OWNER.CONTROL(enable: false, granularity: control.granularity, pageShift: control.pageShift))
    }

    /// Closes the open extent, so that the ring has all that was written until now.
    func flush(of owner: Int) {
        let log = engine.owner[owner]
        var control = log.control
        control.flush = true
        log.write(control)
    }

    func status(of owner: Int) -> LogStatus {
        let log = engine.owner[owner]
        let (state, control) = (log.status, log.control)
        var status = LogStatus()
        status.active = state.active ? 1 : 0
        status.error = UInt8(truncatingIfNeeded: state.error.rawValue)
        status.granularity = UInt8(truncatingIfNeeded: control.granularity)
        status.pageShift = UInt8(truncatingIfNeeded: control.pageShift)
        status.ringRecords = log.ringSize.records
        if status.ringRecords != 0 { status.ringOffset = log.ringBase.address &- memory.address }
        status.head = log.head.count
        status.tail = log.tail.count
        status.lost = log.lost.count
        status.dirtyPages = log.dirty.count
        status.regionPages = log.regionPages.pages
        status.nextSequence = log.sequence.next
        status.bytesWritten = log.written.bytes
        return status
    }

    /// Tells the host which logs need its attention.
    func service(_ events: inout EventRing, at cycle: UInt64) {
        let causes = engine.intrState
        engine.write(causes)
        var owners = OwnerSet(engine.attention[0].owners, engine.attention[1].owners, engine.attention[2].owners)
        for word in 0..<3 { engine.write(LOG.ATTENTION(rawValue: engine.attention[word].rawValue), at: word) }
        while let owner = owners.popFirst() {
            let log = engine.owner[owner]
            if causes.error, log.status.error != .none {
                events.post(.logError, owner: owner, severity: .error, at: cycle, UInt64(log.status.error.rawValue))
            }
            if causes.lost, log.lost.count != 0 {
                events.post(.logOverflow, owner: owner, severity: .warning, at: cycle, UInt64(log.lost.count))
            }
            if causes.watermark {
                events.post(.logWatermark, owner: owner, at: cycle, UInt64(log.head.count), UInt64(log.tail.count))
            }
        }
    }
}
