import Interconnect
import Simulation

extension NetworkDevice {
    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        for pair in 0..<configuration.queuePairs {
            try state.transmit[pair].archive(&archive)
            try archiveReceive(pair, &archive)
        }
        try archive.flag(&state.space.isLinkUp)
        try archive.flag(&state.space.announces)
        try archive.integer(&state.space.mac.value, in: 0...0xffff_ffff_ffff)
        try archive.raw(&state.features)
        try archive.state(&state.filter)
        try archive.integer(&state.activePairs, in: 1...configuration.queuePairs)
        try archive.elements(&state.flows) { [configuration] (archive, pair) throws(SnapshotError) in
            try archive.integer(&pair, in: 0...UInt8(configuration.queuePairs - 1))
        }
        try archive.state(&state.wireFree)
        try archive.optional(&state.liveSince, blank: 0) { (archive, cycle) throws(SnapshotError) in try archive.integer(&cycle) }
        try archive.state(&state.transmitCoalescing)
        try archive.state(&state.receiveCoalescing)
        try archive.elements(&state.held) { (archive, held) throws(SnapshotError) in
            try archive.integer(&held.packets)
            try archive.integer(&held.due)
        }
        try archive.integer(&state.sent)
        try archive.integer(&state.received)
        try archive.state(&state.counters)
        try backend.archive(&archive, port: port)
        guard archive.isLoading else { return }
        state.inFlight = (0..<configuration.queuePairs).reduce(0) {
            $0 + state.transmit[$1].count + state.receive[$1].count - state.receive[$1].ready
        }
    }

    private func archiveReceive(_ pair: Int, _ archive: inout StateArchive) throws(SnapshotError) {
        try state.receive[pair].archive(&archive, slotBytes: min(slotBytes, configuration.frameBytes))
        for number in 0..<state.receive[pair].count {
            let place = state.receive[pair].place(number)
            let bytes = UnsafeMutableRawBufferPointer(start: slot(pair, place), count: state.receive[pair].frames[place].length)
            try archive.memory(bytes)
        }
    }
}

extension TransmitQueue {
    mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archivePositions(&archive)
        for number in 0..<count {
            let place = place(number)
            try archiveSlot(place, &archive)
        }
    }
}

extension ReceiveQueue {
    mutating func archive(_ archive: inout StateArchive, slotBytes: Int) throws(SnapshotError) {
        try archivePositions(&archive)
        for number in 0..<count {
            let place = place(number)
            try archive.integer(&frames[place].length, in: NetworkFrame.minimumBytes...slotBytes)
            try archive.integer(&frames[place].arrival)
            try archive.integer(&frames[place].due)
            try archive.integer(&frames[place].served)
            try archive.integer(&frames[place].delivered)
            try archive.integer(&frames[place].depth)
            try archive.integer(&frames[place].position)
            try archive.flag(&frames[place].isChecksumValid)
        }
        try archive.integer(&chainCount, in: 0...Self.chainLimit)
        try archive.integer(&segmentCount, in: 0...Self.segmentLimit)
        var total = 0
        for index in 0..<chainCount {
            try archive.state(&chains[index])
            total += Int(chains[index].segments)
        }
        try archive.require(total == segmentCount, "expected the segments of \(chainCount) chains, found \(segmentCount)")
        for index in 0..<segmentCount { try archive.state(&allSegments[index]) }
        if archive.isLoading { room = allSegments[..<segmentCount].reduce(0) { $0 &+ UInt64($1.length) } }
    }
}

extension Coalescing: ArchivedState {
    mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.integer(&packets)
        try archive.integer(&microseconds)
    }
}

extension NetworkDevice.Counters: ArchivedState {
    public mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.integer(&transmitted)
        try archive.integer(&transmittedBytes)
        try archive.integer(&transmitErrors)
        try archive.integer(&received)
        try archive.integer(&receivedBytes)
        try archive.integer(&multicast)
        try archive.integer(&filtered)
        try archive.integer(&dropped)
        try archive.integer(&controlCommands)
        try archive.integer(&controlErrors)
    }
}
