import Interconnect

/// A network function and its driver: buffers of a fixed size for each descriptor of its queues.
package final class NetworkFixture: FunctionFixture {
    package let network: NetworkDevice
    /// Of a receive buffer and of a transmit buffer.
    package let bufferBytes: UInt32
    private let queueSize: UInt16
    /// By queue: the buffer of each chain in the device's hands.
    private var tags: [[UInt16: Int]] = []
    private var freeTags: [[Int]] = []

    package init(
        _ configuration: NetworkConfiguration = NetworkConfiguration(), backend: any NetworkBackend, number: Int = 1,
        observer: (any DataPathObserver)? = nil, queueSize: UInt16 = 64, bufferBytes: UInt32 = 2048,
        polling: VirtioDevice.Polling = .init(), on hardware: FixtureHardware? = nil
    ) {
        let hardware = hardware ?? FixtureHardware()
        self.bufferBytes = bufferBytes
        self.queueSize = queueSize
        network = NetworkDevice(configuration, backend: backend, path: hardware.path(observer))
        super.init(
            network, number: number, queueSize: queueSize, queueBytes: 0x10000 + UInt64(bufferBytes) * UInt64(queueSize), polling: polling,
            on: hardware)
    }

    package static let usual: Features = [.version1, .networkMAC, .networkStatus, .networkControlQueue, .networkControlReceive]

    /// Negotiates and starts, with all receive buffers made available.
    package func begin(_ features: Features = usual, fills: Bool = true) {
        bringUp(features)
        tags = Array(repeating: [:], count: device.queueCount)
        freeTags = Array(repeating: (0..<Int(queueSize)).reversed(), count: device.queueCount)
        guard fills else { return }
        for pair in 0..<(features.contains(.networkMultiQueue) ? network.configuration.queuePairs : 1) { fill(pair) }
    }

    package var headerBytes: Int { features.isDisjoint(with: [.version1, .networkMergeableBuffers]) ? 10 : 12 }

    package func address(_ queue: Int, _ tag: Int) -> UInt64 {
        memory.base + queueBytes * UInt64(queue) + 0x10000 + UInt64(bufferBytes) * UInt64(tag)
    }

    /// Makes all receive buffers of a pair available that the device doesn't have.
    package func fill(_ pair: Int = 0, limit: Int = .max) {
        let queue = 2 * pair
        var count = 0
        while count < limit, let tag = freeTags[queue].last {
            let segment = Segment(address: address(queue, tag), length: bufferBytes, isWritable: true)
            guard let head = queues[queue].submit([segment]) else { break }
            freeTags[queue].removeLast()
            tags[queue][head] = tag
            count += 1
        }
        if count > 0, queues[queue].needsNotification() { notify(queue: queue) }
    }

    /// Sends a frame, its header in a buffer of its own if `isSplit`; false if the queue is full. Doesn't notify.
    @discardableResult
    package func send(
        _ frame: [UInt8], header: [UInt8]? = nil, pair: Int = 0, isSplit: Bool = false
    ) -> Bool {
        let queue = 2 * pair + 1
        reclaim(pair)
        guard let tag = freeTags[queue].last else { return false }
        let start = address(queue, tag), bytes = (header ?? [UInt8](repeating: 0, count: headerBytes)) + frame
        memory[start, bytes.count] = bytes
        let length = UInt32(bytes.count)
        let cut = UInt32(headerBytes)
        let segments = isSplit && length > cut
            ? [Segment(address: start, length: cut, isWritable: false),
               Segment(address: start + UInt64(cut), length: length - cut, isWritable: false)]
            : [Segment(address: start, length: length, isWritable: false)]
        guard let head = queues[queue].submit(segments) else { return false }
        freeTags[queue].removeLast()
        tags[queue][head] = tag
        return true
    }

    package func notifyTransmit(_ pair: Int = 0) {
        if queues[2 * pair + 1].needsNotification() { notify(queue: 2 * pair + 1) }
    }

    /// Takes back the buffers of frames that have left; how many.
    @discardableResult
    package func reclaim(_ pair: Int = 0) -> Int {
        let queue = 2 * pair + 1
        var count = 0
        while let used = queues[queue].reap() {
            freeTags[queue].append(tags[queue].removeValue(forKey: used.head)!)
            count += 1
        }
        return count
    }

    /// The next received frame with its header; nil if there is none.
    package func receive(_ pair: Int = 0) -> (header: [UInt8], frame: [UInt8])? {
        let queue = 2 * pair
        guard let used = queues[queue].reap() else { return nil }
        var bytes = take(used, queue)
        let count = headerBytes == 12 ? Int(bytes[10]) | Int(bytes[11]) << 8 : 1
        for _ in 1..<max(count, 1) {
            guard let more = queues[queue].reap() else { return nil }
            bytes += take(more, queue)
        }
        return (Array(bytes[..<headerBytes]), Array(bytes[headerBytes...]))
    }

    private func take(_ used: MockDriver.Used, _ queue: Int) -> [UInt8] {
        let tag = tags[queue].removeValue(forKey: used.head)!
        freeTags[queue].append(tag)
        return memory[address(queue, tag), Int(used.written)]
    }

    /// A command of the control queue; its answer, nil if none came.
    package func command(_ commandClass: UInt8, _ command: UInt8, _ data: [UInt8]) -> UInt8? {
        let queue = features.contains(.networkMultiQueue) ? 2 * network.configuration.queuePairs : 2
        let start = address(queue, 0)
        memory[start, 2] = [commandClass, command]
        if !data.isEmpty { memory[start + 16, data.count] = data }
        let answer = start + 8
        memory.store(UInt8(0xff), at: answer)
        var segments = [Segment(address: start, length: 2, isWritable: false)]
        if !data.isEmpty { segments.append(Segment(address: start + 16, length: UInt32(data.count), isWritable: false)) }
        segments.append(Segment(address: answer, length: 1, isWritable: true))
        guard queues[queue].submit(segments) != nil else { return nil }
        notify(queue: queue)
        guard let used = queues[queue].reap(), used.written == 1 else { return nil }
        return memory.load(answer, as: UInt8.self)
    }
}
