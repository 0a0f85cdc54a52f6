/// One client's connection, without the socket: bytes in, bytes out.
///
/// What was received is acknowledged before it is carried out, which may take long.
public struct DebugSession {
    private let target: any DebugTarget
    private var handler: CommandHandler
    private var decoder = PacketDecoder(limit: CommandHandler.packetSize)
    private let transmit: ([UInt8]) -> Void
    /// What the last packet was answered with, for a client that has not received it whole.
    private var lastAnswer: [UInt8] = []
    private var acknowledges = true
    /// The client waits for a stop.
    private var awaitsStop = false
    /// Nothing more is to be exchanged.
    public private(set) var isOver = false

    /// - Parameter transmit: sends bytes to the client.
    public init(_ target: any DebugTarget, transmit: @escaping ([UInt8]) -> Void) {
        self.target = target
        self.transmit = transmit
        handler = CommandHandler(target)
    }

    /// Takes bytes from the client.
    public mutating func receive(_ bytes: some Sequence<UInt8>) {
        for byte in bytes where !isOver {
            switch decoder.take(byte) {
            case .packet(let packet):
                acknowledge("+")
                answer(handler.handle(packet))
            case .damaged:
                acknowledge("-")
            case .tooLong:
                acknowledge("+")
                answer(CommandHandler.error("packet longer than \(decoder.limit) bytes"))
            case .rejected:
                transmit(lastAnswer)
            case .interrupt:
                if awaitsStop { target.hold() }
            case .acknowledged, nil:
                break
            }
        }
    }

    /// Tells the client that the harts have stopped, if they have and it waits for that.
    public mutating func reportStop() {
        guard awaitsStop, target.stop != nil else { return }
        awaitsStop = false
        send([handler.stopReply()])
    }

    private func acknowledge(_ sign: Unicode.Scalar) {
        if acknowledges { transmit([UInt8(ascii: sign)]) }
    }

    private mutating func answer(_ reply: CommandHandler.Reply) {
        switch reply {
        case .send(let packets):
            send(packets)
        case .resumed:
            awaitsStop = true
            lastAnswer = []
        case .withoutAcknowledgements:
            send([Array("OK".utf8)])
            acknowledges = false
        case .close(let packet):
            if let packet { send([packet]) }
            isOver = true
        }
    }

    private mutating func send(_ packets: [[UInt8]]) {
        lastAnswer = packets.flatMap(encodePacket)
        transmit(lastAnswer)
    }
}
