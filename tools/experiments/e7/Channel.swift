import Interconnect
import Peripherals
import RegisterMaps
import Registers
import Simulation

/// One device channel that many share: a request occupies it for 15 us and its bytes at 2 GiB/s, whole. It is the device's own link: what
/// the 15 us would carry goes along with each request, and a piece is as long as the longest request. The Resource Manager divides it.
final class Channel: CompletionSink {
    static let bytesPerMicrosecond: UInt32 = 2147
    static let cyclesPerMicrosecond: UInt64 = 1000
    private static let overheadBytes = UInt64(bytesPerMicrosecond) * 15

    struct Request {
        var owner: Int
        var bytes: UInt32
        var arrival: Cycle
        /// Up to this cycle another one like it follows when it is done.
        var repeatsUntil: Cycle = 0
    }

    /// Cycles for which a request of so many bytes occupies the channel.
    static func cycles(_ bytes: UInt32) -> Cycle {
        (UInt64(bytes) + overheadBytes) * cyclesPerMicrosecond / UInt64(bytesPerMicrosecond)
    }

    let scheduler = Scheduler()
    private let link: Link
    private let manager: ResourceManager
    private var port = SubmitterPort(rawValue: 0)
    private var requests: [Request] = []
    private var free: [Int] = []
    private(set) var depth = [UInt32](repeating: 0, count: 65)
    /// Is told of each request that is done.
    var completion: (Request, Cycle) -> Void = { _, _ in }

    init() {
        let rate = Rate(bytesPerMicrosecond: Self.bytesPerMicrosecond, cyclesPerMicrosecond: UInt32(Self.cyclesPerMicrosecond))
        link = Link(.init(name: "channel", rate: rate, latency: 0, quantum: 1 << 24, burst: 1 << 24), on: scheduler)
        manager = ResourceManager(DeviceResources(serviceCores: 1, linkBandwidth: Self.bytesPerMicrosecond), on: scheduler)
        manager.connect(link)
        port = link.attach(self)
    }

    func submit(_ request: Request) {
        let id: Int
        if let last = free.popLast() {
            id = last
            requests[id] = request
        } else {
            id = requests.count
            requests.append(request)
        }
        depth[request.owner] += 1
        link.submit(
            bytes: UInt64(request.bytes) + Self.overheadBytes, owner: Owner(rawValue: UInt8(request.owner)), id: UInt64(id), port: port)
    }

    func completed(_ id: UInt64, at cycle: Cycle) {
        let request = requests[Int(id)]
        free.append(Int(id))
        depth[request.owner] -= 1
        completion(request, cycle)
    }

    /// Puts guarantees, in 1/1000, and boosts in force, as the firmware does it: by registers.
    func commit(_ shares: [(guarantee: UInt32, boost: UInt32)]) {
        for (owner, share) in shares.enumerated() {
            var value = RM.STAGED_BANDWIDTH.weight.inserting(1, in: UInt64(share.guarantee))
            value = RM.STAGED_BANDWIDTH.boost.inserting(UInt64(share.boost), in: value)
            write(value, RM.STAGED_BANDWIDTH, owner)
        }
        write(RM.COMMAND.commit.mask, RM.COMMAND)
        precondition(manager.registers[RM.RESULT] == 0, "expected a commit that is accepted, found \(manager.registers[RM.RESULT])")
    }

    private func write(_ value: UInt64, _ register: some RegisterKey, _ element: Int = 0) {
        let address = RM.map.registers[register.index.rawValue].offset(ofElement: element)
        var access = BusAccess(write: value, to: address, size: 4, initiator: .hart(0), time: scheduler.now)
        let status = manager.access(&access)
        precondition(status == .ok, "expected a write that is accepted, found \(status)")
    }
}
