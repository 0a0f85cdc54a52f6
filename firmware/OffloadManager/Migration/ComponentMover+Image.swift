import AdminProtocol
import Hardware
import PolicyEngine

// Images of components: where they are kept, how they are written from VIC's registers, and how a component takes one in.

extension ComponentMover {
    /// Images lie in the last eighth of the lower half of shared memory: one place for each component, and one, number 0, for what comes
    /// from the host before it has been checked.
    private static func place(_ number: Int, _ memory: SharedMemory) -> UInt32 {
        let area = memory.byteCount / 16
        return memory.address &+ memory.byteCount / 2 &- area &+ UInt32(truncatingIfNeeded: number) &* pitch(memory)
    }

    private static func pitch(_ memory: SharedMemory) -> UInt32 { memory.byteCount / 16 / UInt32(entries) & ~15 }

    static func imageLimit(_ memory: SharedMemory) -> UInt32 { min(pitch(memory), UInt32(bufferBytes)) }

    /// Bytes of the local copies in which images are built and checked: nobody else writes those.
    private static let bufferBytes = 4096

    func imagePlace(of entry: Int) -> UInt32 { Self.place(entry, memory) }
    var stagingPlace: UInt32 { Self.place(0, memory) }

    // MARK: Asking

    /// Asks VIC for a transition.
    func ask(_ entry: Int, _ state: VIC.State, _ location: VIC.Place = .device) {
        vic.component[entry].write(VIC.COMPONENT.TRANSITION(state: state, location: location))
    }

    /// Asks the host agent for something.
    mutating func request(_ what: VIC.Request, _ entry: Int, bytes: UInt32 = 0) {
        // Of the component's own last request on, which outlives a restart of the firmware, and not that of a reply that is there already.
        let component = vic.component[entry]
        ticket = component.request.ticket
        repeat { ticket = ticket == 0xff ? 1 : ticket &+ 1 } while ticket == component.reply.ticket
        vic.component[entry].request = .init(what: what, ticket: ticket, bytes: bytes)
    }

    // MARK: Writing

    /// Writes the image of a component as it is now, with its place in shared memory as the result's.
    /// - Returns: its bytes; 0 if it has no room there.
    @inline(never)
    func writeImage(of entry: Int) -> UInt32 {
        var storage = InlineArray<512, UInt64>(repeating: 0)
        return withUnsafeMutableBytes(of: &storage) { buffer in
            let limit = Int(Self.imageLimit(memory))
            let image = ComponentImage(UnsafeMutableRawBufferPointer(rebasing: buffer[..<limit]))
            let component = vic.component[entry]
            let identity = component.identity
            let queues = Int(identity.queues)
            guard queues >= 1, queues <= ComponentImage.queueLimit,
                ComponentImage.headerBytes &+ queues &* ComponentImage.queueBytes <= limit
            else { return 0 }
            vic.contextSelect = .init(entry: UInt32(truncatingIfNeeded: entry))
            image.begin(
                type: UInt8(truncatingIfNeeded: identity.kind), owner: UInt8(truncatingIfNeeded: identity.owner),
                generation: UInt16(truncatingIfNeeded: component.generation.count), queues: queues, features: vic.contextFeatures.bits)
            for word in 0..<16 { image.setConfigurationWord(word, vic.contextConfig[word].word) }
            for index in 0..<queues {
                vic.contextSelect = .init(entry: UInt32(truncatingIfNeeded: entry), queue: UInt32(truncatingIfNeeded: index))
                let queue = selectedQueue()
                image.setQueue(index, queue)
                for _ in 0..<queue.heads {
                    guard image.addHead(UInt16(truncatingIfNeeded: vic.contextHead.head), toQueue: index) else { return 0 }
                }
            }
            image.grant = UInt16(truncatingIfNeeded: partitions.allocation(of: entry).serviceCores)
            image.seal()
            let count = UInt32(truncatingIfNeeded: image.byteCount)
            memory.copy(UnsafeRawPointer(buffer.baseAddress!), to: imagePlace(of: entry), count: count)
            Hart.fence()
            return count
        }
    }

    /// The virtqueue that CONTEXT_SELECT has chosen.
    private func selectedQueue() -> ComponentImage.Queue {
        let (shape, position) = (vic.contextQueue, vic.contextPosition)
        var queue = ComponentImage.Queue()
        queue.size = UInt16(truncatingIfNeeded: shape.size)
        queue.isEnabled = shape.enabled
        // While it runs, some are in flight that nobody can serve twice yet: a draft has the layout alone.
        queue.heads = UInt16(truncatingIfNeeded: shape.heads)
        queue.used = UInt16(truncatingIfNeeded: position.used)
        queue.taken = queue.used &+ queue.heads
        queue.descriptorArea = vic.contextDesc.address
        queue.driverArea = vic.contextDriver.address
        queue.deviceArea = vic.contextUsedArea.address
        return queue
    }

    // MARK: Taking in

    /// Checks the image that has come from the host against the device's own registers and, if it fits, sets the component up by it.
    /// - Returns: what is wrong with it; then nothing has changed.
    @inline(never)
    func takeIn(_ entry: Int) -> ComponentImage.Defect? {
        var storage = InlineArray<512, UInt64>(repeating: 0)
        return withUnsafeMutableBytes(of: &storage) { buffer in
            let count = UInt32(images[entry])
            memory.copy(stagingPlace, to: buffer.baseAddress!, count: min(count, Self.imageLimit(memory)))
            let image = ComponentImage(UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(min(count, Self.imageLimit(memory)))]))
            if let defect = image.defect { return defect }
            if let defect = difference(image, entry) { return defect }
            for index in 0..<image.queues {
                let queue = image.queue(index)
                guard queue.isEnabled else { continue }
                vic.contextSelect = .init(entry: UInt32(truncatingIfNeeded: entry), queue: UInt32(truncatingIfNeeded: index))
                vic.contextPosition = .init(taken: UInt32(queue.taken), used: UInt32(queue.used))
                for place in 0..<Int(queue.heads) { vic.contextHead = .init(head: UInt32(image.head(place, ofQueue: index))) }
            }
            return nil
        }
    }

    /// The dry run: whether this is the component's image, of the queues that its driver has set up, and as far as its used rings are.
    private func difference(_ image: ComponentImage, _ entry: Int) -> ComponentImage.Defect? {
        let identity = vic.component[entry].identity
        guard UInt32(image.type) == identity.kind, UInt32(image.owner) == identity.owner else { return .type }
        guard UInt32(truncatingIfNeeded: image.queues) == identity.queues else { return .queues }
        for index in 0..<image.queues {
            vic.contextSelect = .init(entry: UInt32(truncatingIfNeeded: entry), queue: UInt32(truncatingIfNeeded: index))
            let (queue, own) = (image.queue(index), selectedQueue())
            guard queue.size == own.size, queue.isEnabled == own.isEnabled else { return .size }
            guard queue.descriptorArea == own.descriptorArea, queue.driverArea == own.driverArea, queue.deviceArea == own.deviceArea else {
                return .alignment
            }
            let used = vic.contextUsed
            guard !queue.isEnabled || used.valid && used.index == UInt32(queue.used) else { return .positions }
        }
        return nil
    }

    // MARK: Without the agent

    /// Sets a component up by the image with which it went to the host, and by what its used rings say has been done since. The agent
    /// answers the requests of a queue in the order of the image's heads and then of the available ring, so their number says which.
    @inline(never)
    func recover(_ entry: Int) {
        var storage = InlineArray<512, UInt64>(repeating: 0)
        withUnsafeMutableBytes(of: &storage) { buffer in
            let limit = Self.imageLimit(memory)
            memory.copy(imagePlace(of: entry), to: buffer.baseAddress!, count: limit)
            let image = ComponentImage(UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(limit)]))
            let isUsable = image.defect == nil && Int(image.owner) == entry
            for index in 0..<Int(vic.component[entry].identity.queues) {
                vic.contextSelect = .init(entry: UInt32(truncatingIfNeeded: entry), queue: UInt32(truncatingIfNeeded: index))
                let used = vic.contextUsed
                guard vic.contextQueue.enabled, used.valid else { continue }
                let now = UInt16(truncatingIfNeeded: used.index)
                let queue = isUsable && index < image.queues ? image.queue(index) : ComponentImage.Queue()
                let done = now &- queue.used
                let isKnown = isUsable && index < image.queues
                let left = isKnown && done < queue.heads ? queue.heads &- done : 0
                vic.contextPosition = .init(taken: UInt32(now &+ left), used: UInt32(now))
                for place in 0..<Int(left) {
                    vic.contextHead = .init(head: UInt32(image.head(Int(done) &+ place, ofQueue: index)))
                }
            }
        }
    }

    // MARK: Grants

    /// Gives the service cores of a component that has left the device back to the Resource Manager.
    func release() {
        var allocation = partitions.allocation(of: entry)
        guard allocation.serviceCores != 0 else { return }
        allocation.serviceCores = 0
        partitions.stage(allocation, of: entry)
        _ = partitions.commit()
    }

    /// Grants a component that comes back the service cores that it had.
    /// - Returns: whether it has them.
    func regrant(_ entry: Int) -> Bool {
        let cores = grant(of: entry)
        var allocation = partitions.allocation(of: entry)
        guard cores > UInt16(allocation.serviceCores) else { return true }
        allocation.serviceCores = UInt8(truncatingIfNeeded: cores)
        partitions.stage(allocation, of: entry)
        return partitions.commit().reason == .none
    }

    func regrant() -> Bool { regrant(entry) }

    /// The service cores that a component had when it left.
    @inline(never)
    private func grant(of entry: Int) -> UInt16 {
        var storage = InlineArray<512, UInt64>(repeating: 0)
        return withUnsafeMutableBytes(of: &storage) { buffer in
            let limit = Self.imageLimit(memory)
            memory.copy(imagePlace(of: entry), to: buffer.baseAddress!, count: limit)
            let image = ComponentImage(UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(limit)]))
            return image.defect == nil && Int(image.owner) == entry ? image.grant : 0
        }
    }
}
