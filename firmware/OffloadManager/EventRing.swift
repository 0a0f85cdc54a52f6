import AdminProtocol
import Hardware

/// Posts events to the host: an array of 32-byte entries in shared memory, with the head and tail in MAILBOX.
public struct EventRing {
    private let mailbox: MAILBOX
    private let memory: SharedMemory
    /// Entries; 0: the ring is off.
    private var size: UInt32 = 0
    private var base: UInt32 = 0
    private var sequence: UInt32 = 0
    public private(set) var posted: UInt32 = 0
    public private(set) var dropped: UInt32 = 0
    /// A bit for each kind of event that is posted.
    public var enabledKinds: UInt64 = EventRing.allKinds

    public static var allKinds: UInt64 {
        var kinds: UInt64 = 0
        for number in 0..<64 as Range<UInt16> where DeviceEvent.Kind(rawValue: number) != nil { kinds |= 1 &<< UInt64(number) }
        return kinds
    }

    public init(_ mailbox: MAILBOX, memory: SharedMemory) { self.mailbox = mailbox; self.memory = memory }

    public var isEnabled: Bool { size != 0 }

    /// Takes over what the host has set up: at start, and when it has changed.
    /// - Returns: whether the ring was off before and is on now.
    @discardableResult public mutating func configure() -> Bool {
        let wasEnabled = isEnabled
        let event = mailbox.event
        base = mailbox.eventBase.address
        let entries = event.size
        let isUsable = event.enabled && (2...4096).contains(entries) && entries & (entries &- 1) == 0 && base & 31 == 0
            && memory.contains(base, entries &* UInt32(DeviceEvent.byteCount))
        size = isUsable ? entries : 0
        return isEnabled && !wasEnabled
    }

    public mutating func post(
        _ kind: DeviceEvent.Kind, owner: Int = 0, severity: DeviceEvent.Severity = .information, at cycle: UInt64,
        _ argument0: UInt64 = 0, _ argument1: UInt64 = 0
    ) {
        guard enabledKinds >> UInt64(kind.rawValue) & 1 != 0 else { return }
        let event = DeviceEvent(
            kind, owner: UInt8(truncatingIfNeeded: owner), severity: severity, sequence: sequence, cycle: cycle, argument0, argument1)
        sequence &+= 1
        let head = mailbox.eventHead.count
        guard size != 0, head &- mailbox.eventTail.count < size else {
            dropped &+= 1
            mailbox.eventDropped = .init(count: mailbox.eventDropped.count &+ 1)
            return
        }
        var bytes = InlineArray<4, UInt64>(repeating: 0)
        withUnsafeMutableBytes(of: &bytes) { buffer in
            guard let entry = buffer.baseAddress else { return }
            event.encode(to: entry)
            memory.copy(entry, to: base &+ (head & (size &- 1)) &* UInt32(DeviceEvent.byteCount), count: UInt32(DeviceEvent.byteCount))
        }
        Hart.fence()
        mailbox.eventHead = .init(count: head &+ 1)
        mailbox.write(MAILBOX.NOTIFY(event: true))
        posted &+= 1
    }
}
