"""A customer's order in plain words -> a JSON object with five fixed fields."""

import json

import tasks
from words import CITY, FIRST, LAST, coin, coin_name, pick

TRADE = "order in plain words → JSON with five fixed fields"

INSTRUCTION = (
    "Extract the order from the message as one JSON object in one line with exactly these keys: \"name\" (the customer's "
    "full name), \"city\" (where to send it), \"item\" (the thing ordered, in the singular), \"quantity\" (a number), "
    "\"urgent\" (true or false). Answer with the JSON alone."
)

# Singular and plural.
ITEMS = {
    "train": [
        (w, w + "s")
        for w in """desk lamp|office chair|notebook|coffee mug|backpack|umbrella|printer|keyboard|monitor|water bottle|
        garden hose|hammer|screwdriver|towel|pillow|blanket|candle|picture frame|wall clock|teapot|frying pan|kettle|
        flower pot|bicycle helmet|tent|sleeping bag|camera|tripod|headset|charger|phone case|wallet|belt|jacket|
        raincoat|suitcase|puzzle|board game|guitar string|yoga mat|dumbbell|basketball|ladder|paint roller|door handle|
        radio|fan|heater|toaster|blender""".replace("\n", "").replace("  ", "").split("|")
    ]
    + [("paintbrush", "paintbrushes"), ("toothbrush", "toothbrushes"), ("box", "boxes"), ("knife", "knives"), ("shelf", "shelves")],
    "test": [
        (w, w + "s")
        for w in """trumpet|hammock|rug|mattress cover|soap dispenser|skateboard|microscope|telescope|violin|scarf holder|
        cushion|spatula|rake|wheelbarrow|lantern|drone|speaker|projector|stapler|whiteboard|sweater|
        necklace|bracelet|mirror|curtain rod""".replace("\n", "").replace("  ", "").split("|")
    ]
    + [("wrench", "wrenches"), ("compass", "compasses")],
}

NUMBERS = "two three four five six seven eight nine ten eleven twelve".split()

FORMS = {
    "train": [
        "Hi, this is {name} from {city}. I would like {n} {items}, please.{u}",
        "Please send {n} {items} to {name} in {city}.{u}",
        "{name} here, I need {n} {items} delivered to {city}.{u}",
        "I'd like to order {n} {items}. My name is {name} and I live in {city}.{u}",
        "Order for {name}, {city}: {n} {items}.{u}",
        "Could you ship {n} {items} to {city}? The name is {name}.{u}",
        "Hello, can I get {n} {items}? Send it to {name}, {city}.{u}",
        "We need {n} {items} at our {city} office. Regards, {name}.{u}",
        "{name} ({city}) wants to buy {n} {items}.{u}",
        "{n} {items} for {name} in {city}, thanks.{u}",
        "My name is {name}. Please deliver {n} {items} to my house in {city}.{u}",
        "Good morning, I want {n} {items} sent to {city}. Yours, {name}.{u}",
        "Put me down for {n} {items}. {name}, {city}.{u}",
        "I am {name} and I am writing from {city} to order {n} {items}.{u}",
        "A customer in {city}, {name}, asked for {n} {items}.{u}",
        "To {city}, please: {n} {items}. Bill it to {name}.{u}",
    ],
    "test": [
        "Dear shop, {name} from {city} is looking for {n} {items}.{u}",
        "Can you deliver {n} {items} to {city} for {name}?{u}",
        "It's {name}. I'm after {n} {items}, shipped to {city}.{u}",
        "New order: {n} {items}, going to {city}. Customer: {name}.{u}",
        "For delivery to {city}: {n} {items}. Kind regards, {name}.{u}",
        "{name} called from {city} and would like {n} {items}.{u}",
        "Our client {name} needs {n} {items} in {city}.{u}",
        "I wish to purchase {n} {items}. Ship to {name}, {city}.{u}",
    ],
}

URGENT = {
    "train": [
        (True, [" It is urgent.", " I need it as soon as possible.", " Please hurry!", " As fast as you can, please.",
                " Express shipping, please.", " I can't wait long.", " This is needed today."]),
        (False, ["", "", " There is no rush.", " Take your time.", " Whenever it suits you.", " No hurry.", " It isn't urgent."]),
    ],
    "test": [
        (True, [" This one is urgent!", " Please rush it.", " I need it right away.", " Send it express, please."]),
        (False, ["", "", " No rush at all.", " It is not urgent.", " I am in no hurry."]),
    ],
}


def normal(text):
    """The parsed object as canonical JSON; text that does not parse is left alone and so equals no answer."""
    text = tasks.strip_fence(text)
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except ValueError:
        return text


def coin_item(rng):
    first = coin(rng)
    item = rng.choice([first, f"{first} {coin(rng)}"])
    return item, item + ("es" if item.endswith(("s", "x", "ch", "sh")) else "s")


def example(rng, words, phrasing):
    name = f"{pick(rng, words, FIRST[words], coin_name)} {pick(rng, words, LAST[words], coin_name)}"
    city = pick(rng, words, CITY[words], coin_name)
    singular, plural = pick(rng, words, ITEMS[words], coin_item)
    quantity = rng.choice([1, *range(2, 13), *range(2, 13), rng.randint(13, 90)])
    if quantity == 1:
        spoken = rng.choice(["one", "1"])
    else:
        spoken = NUMBERS[quantity - 2] if quantity <= 12 and rng.random() < 0.6 else str(quantity)
    urgent, endings = rng.choice(URGENT[phrasing])
    prompt = rng.choice(FORMS[phrasing]).format(
        name=name, city=city, n=spoken, items=singular if quantity == 1 else plural, u=rng.choice(endings)
    )
    prompt = prompt[0].upper() + prompt[1:]
    answer = {"name": name, "city": city, "item": singular, "quantity": quantity, "urgent": urgent}
    return prompt, json.dumps(answer), {name, city, singular, plural}
