import PCIExpress
import Registers
import Simulation

// How inputs and what came of them are written down.

extension HostInput {
    private enum Code: UInt8 {
        case access = 0, readConfiguration, writeConfiguration, resetFunction, enableFunction, setVirtualFunctions, maskInterruptLines
        case typeAtConsole, loadFirmware, restartFirmware, memoryError, uncorrectableError, correctableError, interrupt, appointment
        case keepHarts, debuggerWrite, setRegister, typeAtVirtioConsole, receiveFrame, setLink, frontEnd, dropClientMemory
        case medium, setCard, configureFunction
    }

    /// - Parameter firmware: keeps an image; its number.
    func encode(to encoder: inout JournalEncoder, firmware: ([UInt8]) -> Int) {
        func begin(_ code: Code) { encoder.byte(code.rawValue) }
        switch self {
        case .access(let access):
            begin(.access)
            encoder.integer(access.function)
            encoder.integer(access.bar << 1 | (access.value == nil ? 0 : 1))
            encoder.integer(access.size)
            encoder.number(access.offset)
            encoder.number(UInt64(access.origin))
            if let value = access.value { encoder.number(value) }
        case .readConfiguration(let function, let offset, let count):
            begin(.readConfiguration)
            encoder.integer(function)
            encoder.integer(offset)
            encoder.integer(count)
        case .writeConfiguration(let function, let offset, let bytes):
            begin(.writeConfiguration)
            encoder.integer(function)
            encoder.integer(offset)
            encoder.data(bytes)
        case .resetFunction(let function):
            begin(.resetFunction)
            encoder.integer(function)
        case .enableFunction(let function, let isEnabled):
            begin(.enableFunction)
            encoder.integer(function)
            encoder.byte(isEnabled ? 1 : 0)
        case .dropClientMemory(let function):
            begin(.dropClientMemory)
            encoder.integer(function)
        case .setCard(let isPresent):
            begin(.setCard)
            encoder.byte(isPresent ? 1 : 0)
        case .configureFunction(let function):
            begin(.configureFunction)
            encoder.integer(function)
        case .setVirtualFunctions(let count):
            begin(.setVirtualFunctions)
            encoder.integer(count)
        case .maskInterruptLines: begin(.maskInterruptLines)
        case .typeAtConsole(let bytes):
            begin(.typeAtConsole)
            encoder.data(bytes)
        case .typeAtVirtioConsole(let function, let bytes):
            begin(.typeAtVirtioConsole)
            encoder.integer(function)
            encoder.data(bytes)
        case .receiveFrame(let function, let bytes):
            begin(.receiveFrame)
            encoder.integer(function)
            encoder.data(bytes)
        case .setLink(let function, let isUp):
            begin(.setLink)
            encoder.integer(function)
            encoder.byte(isUp ? 1 : 0)
        case .frontEnd(let function, let input):
            begin(.frontEnd)
            encoder.integer(function)
            input.encode(to: &encoder)
        case .medium(let function, let operation):
            begin(.medium)
            encoder.integer(function)
            operation.encode(to: &encoder)
        case .loadFirmware(let elf):
            begin(.loadFirmware)
            encoder.integer(firmware(elf))
            encoder.integer(elf.count)
            encoder.fixed(CRC32C.of(elf))
        case .restartFirmware: begin(.restartFirmware)
        case .memoryError(let address, let isCorrectable):
            begin(.memoryError)
            encoder.number(address)
            encoder.byte(isCorrectable ? 1 : 0)
        case .uncorrectableError(let error, let function):
            begin(.uncorrectableError)
            encoder.integer(error.rawValue)
            encoder.integer(function)
        case .correctableError(let error, let function):
            begin(.correctableError)
            encoder.integer(error.rawValue)
            encoder.integer(function)
        case .interrupt(let vector, let function):
            begin(.interrupt)
            encoder.integer(vector)
            encoder.integer(function)
        case .appointment(let cycle):
            begin(.appointment)
            encoder.number(cycle)
        case .keepHarts(let mask):
            begin(.keepHarts)
            encoder.number(mask)
        case .debuggerWrite(let address, let size, let value):
            begin(.debuggerWrite)
            encoder.number(address)
            encoder.integer(size)
            encoder.number(value)
        case .setRegister(let register, let hart, let value):
            begin(.setRegister)
            register.encode(to: &encoder)
            encoder.integer(hart)
            encoder.number(UInt64(value))
        }
    }

    init(from decoder: inout JournalDecoder, firmware: RecordedFirmware) throws(RecordingError) {
        let code = try decoder.byte()
        switch Code(rawValue: code) {
        case nil: throw decoder.error("expected an input, found code \(code)")
        case .access:
            let function = try decoder.integer(), place = try decoder.integer()
            var access = HostAccess(
                function: function, bar: place >> 1, offset: 0, size: try decoder.integer(), value: nil, origin: 0)
            access.offset = try decoder.number()
            access.origin = UInt32(try decoder.integer(in: 0...Int(UInt32.max), "process of an access"))
            if place & 1 == 1 { access.value = try decoder.number() }
            self = .access(access)
        case .readConfiguration:
            self = .readConfiguration(function: try decoder.integer(), offset: try decoder.integer(), count: try decoder.integer())
        case .writeConfiguration:
            self = .writeConfiguration(function: try decoder.integer(), offset: try decoder.integer(), bytes: try decoder.data())
        case .resetFunction: self = .resetFunction(try decoder.integer())
        case .enableFunction: self = .enableFunction(try decoder.integer(), try decoder.flag())
        case .dropClientMemory: self = .dropClientMemory(function: try decoder.integer())
        case .setCard: self = .setCard(isPresent: try decoder.flag())
        case .configureFunction: self = .configureFunction(try decoder.integer())
        case .setVirtualFunctions: self = .setVirtualFunctions(try decoder.integer())
        case .maskInterruptLines: self = .maskInterruptLines
        case .typeAtConsole: self = .typeAtConsole(try decoder.data())
        case .typeAtVirtioConsole: self = .typeAtVirtioConsole(function: try decoder.integer(), try decoder.data())
        case .receiveFrame: self = .receiveFrame(function: try decoder.integer(), try decoder.data())
        case .setLink: self = .setLink(function: try decoder.integer(), isUp: try decoder.flag())
        case .frontEnd: self = .frontEnd(function: try decoder.integer(), try FrontEndInput(from: &decoder))
        case .medium: self = .medium(function: try decoder.integer(), try MediumOperation(from: &decoder))
        case .loadFirmware:
            let number = try decoder.integer(in: 0...0xffff, "firmware image")
            self = .loadFirmware(try firmware.image(number, count: try decoder.integer(), sum: try decoder.fixed(UInt32.self)))
        case .restartFirmware: self = .restartFirmware
        case .memoryError: self = .memoryError(address: try decoder.number(), isCorrectable: try decoder.flag())
        case .uncorrectableError:
            let number = try decoder.integer()
            guard let error = UncorrectableError(rawValue: number) else {
                throw decoder.error("expected an uncorrectable error, found \(number)")
            }
            self = .uncorrectableError(error, function: try decoder.integer())
        case .correctableError:
            let number = try decoder.integer()
            guard let error = CorrectableError(rawValue: number) else {
                throw decoder.error("expected a correctable error, found \(number)")
            }
            self = .correctableError(error, function: try decoder.integer())
        case .interrupt: self = .interrupt(vector: try decoder.integer(), function: try decoder.integer())
        case .appointment: self = .appointment(at: try decoder.number())
        case .keepHarts: self = .keepHarts(try decoder.number())
        case .debuggerWrite:
            self = .debuggerWrite(
                address: try decoder.number(), size: try decoder.integer(in: 1...8, "bytes of an access"), value: try decoder.number())
        case .setRegister:
            let register = try HartRegister(from: &decoder)
            self = .setRegister(register, hart: try decoder.integer(), value: UInt32(truncatingIfNeeded: try decoder.number()))
        }
    }
}

extension JournalDecoder {
    mutating func flag() throws(RecordingError) -> Bool { try integer(in: 0...1, "flag") == 1 }
}

extension MediumOperation {
    fileprivate func encode(to encoder: inout JournalEncoder) {
        switch self {
        case .read(let position, let count):
            encoder.byte(0)
            encoder.number(position)
            encoder.integer(count)
        case .write(let position, let bytes):
            encoder.byte(1)
            encoder.number(position)
            encoder.data(bytes)
        case .flush: encoder.byte(2)
        }
    }

    fileprivate init(from decoder: inout JournalDecoder) throws(RecordingError) {
        self =
            switch try decoder.integer(in: 0...2, "operation on a medium") {
            case 0: .read(position: try decoder.number(), count: try decoder.integer(in: 0...1 << 30, "bytes of a read"))
            case 1: .write(position: try decoder.number(), try decoder.data())
            default: .flush
            }
    }
}

extension HartRegister {
    fileprivate func encode(to encoder: inout JournalEncoder) {
        let (kind, number): (UInt8, Int) =
            switch self {
            case .integer(let number): (0, number)
            case .pc: (1, 0)
            case .csr(let number): (2, Int(number))
            case .privilege: (3, 0)
            }
        encoder.byte(kind)
        encoder.integer(number)
    }

    fileprivate init(from decoder: inout JournalDecoder) throws(RecordingError) {
        let kind = try decoder.integer(in: 0...3, "kind of register"), number = try decoder.integer(in: 0...0xffff, "register")
        self =
            switch kind {
            case 0: .integer(number)
            case 1: .pc
            case 2: .csr(UInt16(number))
            default: .privilege
            }
    }
}

/// What came of a recorded input, as far as it can be compared.
enum RecordedOutcome: Equatable {
    case done
    /// `value` of a read alone; `duration` in cycles.
    case access(value: UInt64?, status: UInt8, duration: UInt64)
    case read(count: Int, hash: UInt64)
    case taken(Int)
    case refused

    /// - Parameter cycle: the device's when the input was applied.
    init(_ outcome: HostOutcome, of input: HostInput, at cycle: UInt64) {
        self =
            switch outcome {
            case .done: .done
            case .access(let value, let status, let time):
                .access(value: input.isWrite ? nil : value, status: status.rawValue, duration: time &- cycle)
            case .read(let bytes):
                .read(count: bytes.count, hash: bytes.reduce(into: FNV1a()) { $0.add(UInt64($1)) }.value)
            case .taken(let count): .taken(count)
            case .refused: .refused
            }
    }

    func encode(to encoder: inout JournalEncoder) {
        func begin(_ code: UInt8) { encoder.byte(JournalLayout.Tag.outcome.rawValue | code << 4) }
        switch self {
        case .done: begin(0)
        case .access(let value, let status, let duration):
            begin(value == nil ? 1 : 2)
            encoder.byte(status)
            encoder.number(duration)
            if let value { encoder.number(value) }
        case .read(let count, let hash):
            begin(3)
            encoder.integer(count)
            encoder.fixed(hash)
        case .taken(let count):
            begin(4)
            encoder.integer(count)
        case .refused: begin(5)
        }
    }

    init(code: UInt8, from decoder: inout JournalDecoder) throws(RecordingError) {
        switch code {
        case 0: self = .done
        case 1: self = .access(value: nil, status: try decoder.byte(), duration: try decoder.number())
        case 2:
            let (status, duration) = (try decoder.byte(), try decoder.number())
            self = .access(value: try decoder.number(), status: status, duration: duration)
        case 3: self = .read(count: try decoder.integer(), hash: try decoder.fixed(UInt64.self))
        case 4: self = .taken(try decoder.integer())
        case 5: self = .refused
        default: throw decoder.error("expected an outcome, found code \(code)")
        }
    }
}

extension RecordedOutcome: CustomStringConvertible {
    var description: String {
        switch self {
        case .done: "done"
        case .access(let value, let status, let duration):
            (value.map { "0x\(String($0, radix: 16)), " } ?? "") + "\(BusStatus(rawValue: status).map { "\($0)" } ?? "status \(status)") "
                + "after \(duration) cycles"
        case .read(let count, let hash): "\(count) bytes with hash 0x\(String(hash, radix: 16))"
        case .taken(let count): "\(count) bytes taken"
        case .refused: "refused"
        }
    }
}

extension HostInput {
    /// An access that writes: its outcome has no value.
    fileprivate var isWrite: Bool {
        switch self {
        case .access(let access): access.value != nil
        case .debuggerWrite: true
        default: false
        }
    }
}
