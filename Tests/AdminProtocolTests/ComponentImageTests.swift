import AdminProtocol
import Simulation
import Testing

/// A component's state as random numbers have it.
private struct Sample: Equatable {
    var type: UInt8 = 2
    var owner: UInt8 = 0
    var generation: UInt16 = 0
    var grant: UInt16 = 0
    var features: UInt64 = 0
    var configuration = [UInt32](repeating: 0, count: 16)
    var queues: [(queue: ComponentImage.Queue, heads: [UInt16])] = []

    static func == (a: Sample, b: Sample) -> Bool {
        a.type == b.type && a.owner == b.owner && a.generation == b.generation && a.grant == b.grant && a.features == b.features
            && a.configuration == b.configuration && a.queues.count == b.queues.count
            && zip(a.queues, b.queues).allSatisfy { $0.queue == $1.queue && $0.heads == $1.heads }
    }

    init(random: inout some RandomNumberGenerator) {
        type = .random(in: 1...255, using: &random)
        owner = .random(in: 1...64, using: &random)
        generation = .random(in: 0 ... .max, using: &random)
        grant = .random(in: 0 ... .max, using: &random)
        features = .random(in: 0 ... .max, using: &random)
        configuration = configuration.map { _ in .random(in: 0 ... .max, using: &random) }
        var room = 96
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            var queue = ComponentImage.Queue()
            queue.size = 1 << UInt16.random(in: 0...10, using: &random)
            queue.isEnabled = .random(using: &random)
            queue.descriptorArea = .random(in: 0 ... .max, using: &random) & ~15
            queue.driverArea = .random(in: 0 ... .max, using: &random) & ~1
            queue.deviceArea = .random(in: 0 ... .max, using: &random) & ~3
            var heads: [UInt16] = []
            if queue.isEnabled {
                let count = Int.random(in: 0...min(Int(queue.size), room), using: &random)
                heads = Array((0..<queue.size).shuffled(using: &random).prefix(count))
                room -= count
                queue.used = .random(in: 0 ... .max, using: &random)
                queue.taken = queue.used &+ UInt16(count)
                queue.heads = UInt16(count)
            }
            queues.append((queue, heads))
        }
    }

    init(_ image: ComponentImage) {
        (type, owner, generation, grant, features) = (image.type, image.owner, image.generation, image.grant, image.features)
        configuration = (0..<16).map { image.configurationWord($0) }
        queues = (0..<image.queues).map { index in
            let queue = image.queue(index)
            return (queue, (0..<Int(queue.heads)).map { image.head($0, ofQueue: index) })
        }
    }

    var bytes: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: ComponentImage.byteLimit)
        let count = bytes.withUnsafeMutableBytes { buffer in
            let image = ComponentImage(buffer)
            image.begin(type: type, owner: owner, generation: generation, queues: queues.count, features: features)
            for (index, word) in configuration.enumerated() { image.setConfigurationWord(index, word) }
            for (index, entry) in queues.enumerated() {
                image.setQueue(index, entry.queue)
                for head in entry.heads { #expect(image.addHead(head, toQueue: index)) }
            }
            image.grant = grant
            image.seal()
            return image.byteCount
        }
        return Array(bytes[..<count])
    }
}

private func defect(_ bytes: [UInt8]) -> ComponentImage.Defect? {
    var bytes = bytes
    return bytes.withUnsafeMutableBytes { ComponentImage($0).defect }
}

/// Changes an image and gives it a checksum that fits, so that only what was changed can be wrong.
private func resealed(_ bytes: [UInt8], _ change: (inout [UInt8]) -> Void) -> [UInt8] {
    var bytes = bytes
    change(&bytes)
    bytes.withUnsafeMutableBytes { ComponentImage($0).seal() }
    return bytes
}

@Suite struct ComponentImageTests {
    @Test func tenThousandStatesComeBackAsTheyWere() {
        var random = SplitMix64(seed: 11)
        for number in 0..<10_000 {
            let sample = Sample(random: &random)
            var bytes = sample.bytes
            let back = bytes.withUnsafeMutableBytes { buffer in
                let image = ComponentImage(buffer)
                #expect(image.defect == nil, "state \(number) of seed 11")
                return Sample(image)
            }
            #expect(back == sample, "state \(number) of seed 11")
        }
    }

    /// CRC-32C finds every error of one bit, and every burst of up to 32.
    @Test func noSingleBitChangesUnseen() {
        var random = SplitMix64(seed: 12)
        let bytes = Sample(random: &random).bytes
        for bit in 0..<8 * bytes.count {
            var spoilt = bytes
            spoilt[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(defect(spoilt) != nil, "bit \(bit)")
        }
    }

    @Test func noPieceIsTakenForTheWhole() {
        var random = SplitMix64(seed: 13)
        let bytes = Sample(random: &random).bytes
        for count in 0..<bytes.count { #expect(defect(Array(bytes[..<count])) != nil, "\(count) bytes") }
    }

    /// Whatever the bytes are, nothing outside them is read, and nothing traps.
    @Test func noiseIsRefused() {
        var random = SplitMix64(seed: 14)
        for _ in 0..<10_000 {
            let count = Int.random(in: 0...600, using: &random)
            let noise = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
            #expect(defect(noise) != nil)
            // The same behind a good beginning and a good checksum.
            guard count >= ComponentImage.headerBytes else { continue }
            _ = defect(resealed(noise) { bytes in
                bytes.replaceSubrange(0..<12, with: [0x4f, 0x54, 0x52, 0x43, 1, 0, 128, 0, UInt8(count & 0xff), UInt8(count >> 8), 0, 0])
            })
        }
    }

    @Test func otherVersionsAreRefusedAsSuch() {
        var random = SplitMix64(seed: 15)
        let bytes = Sample(random: &random).bytes
        for version in [0, 2, 0xffff] as [UInt16] {
            let other = resealed(bytes) { $0[4] = UInt8(version & 0xff); $0[5] = UInt8(version >> 8) }
            #expect(defect(other) == .version)
        }
    }

    @Test func whatCantBeIsNamed() {
        func sample(heads: [UInt16] = [], _ change: (inout ComponentImage.Queue) -> Void = { _ in }) -> [UInt8] {
            var random = SplitMix64(seed: 16)
            var sample = Sample(random: &random)
            var queue = ComponentImage.Queue()
            (queue.size, queue.isEnabled, queue.used, queue.taken) = (8, true, 5, 5 + UInt16(heads.count))
            change(&queue)
            sample.queues = [(queue, heads)]
            return sample.bytes
        }
        #expect(defect(sample()) == nil)
        #expect(defect(sample(heads: [1, 7])) == nil)
        #expect(defect(sample { $0.size = 6 }) == .size)
        #expect(defect(sample { $0.size = 0 }) == .size)
        #expect(defect(sample { $0.size = 2048 }) == .size)
        #expect(defect(sample { $0.descriptorArea = 8 }) == .alignment)
        #expect(defect(sample { $0.driverArea = 1 }) == .alignment)
        #expect(defect(sample { $0.deviceArea = 2 }) == .alignment)
        #expect(defect(sample { $0.taken = 6 }) == .positions)
        #expect(defect(sample(heads: [1, 1])) == .heads, "one request twice")
        #expect(defect(sample(heads: [8])) == .heads)
    }
}
